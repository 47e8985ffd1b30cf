//! What goes into a statement and what comes out of a row, whichever database it is.

use crate::storage::{Result, StorageError};
use std::borrow::Cow;

/// A value of a statement's parameter.
#[derive(Clone, Debug)]
pub(in crate::storage) enum Param<'a> {
    /// Nothing.
    Null,
    /// A number, or a flag as 0 or 1.
    Int(i64),
    /// Text, or JSON as text.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(&'a [u8]),
}

/// Parameters of several types. Each is borrowed unless it is a number or was made for the call.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::storage::sql::value::AsParam::as_param(&$value)),*]
    };
}
pub(in crate::storage) use params;

/// A value that can be lent to a statement.
pub(in crate::storage) trait AsParam {
    /// The parameter.
    fn as_param(&self) -> Param<'_>;
}

macro_rules! lent {
    ($($kind:ty => |$value:ident| $param:expr),* $(,)?) => {$(
        impl AsParam for $kind {
            fn as_param(&self) -> Param<'_> {
                let $value = self;
                $param
            }
        }
    )*};
}
lent!(
    bool => |value| Param::Int(i64::from(*value)),
    u8 => |value| Param::Int(i64::from(*value)),
    u32 => |value| Param::Int(i64::from(*value)),
    i64 => |value| Param::Int(*value),
    str => |text| Param::Text(Cow::Borrowed(text)),
    String => |text| Param::Text(Cow::Borrowed(text)),
    [u8] => |bytes| Param::Blob(bytes),
    Vec<u8> => |bytes| Param::Blob(bytes),
);

impl<T: AsParam + ?Sized> AsParam for &T {
    fn as_param(&self) -> Param<'_> {
        (**self).as_param()
    }
}

impl<T: AsParam> AsParam for Option<T> {
    fn as_param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null, AsParam::as_param)
    }
}

/// A value of a row's column.
#[derive(Debug)]
pub(in crate::storage) enum Cell<'a> {
    /// Nothing.
    Null,
    /// A number, or a flag as 0 or 1.
    Int(i64),
    /// Text, or JSON as text.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A row of one database.
pub(in crate::storage) trait Cells {
    /// The value of a column.
    fn cell(&self, column: &str) -> Result<Cell<'_>>;
}

/// A row.
pub(in crate::storage) struct Row<'a>(pub(in crate::storage) &'a dyn Cells);

impl Row<'_> {
    /// The value of a column.
    pub(in crate::storage) fn get<C: AsRef<str>, T: FromCell>(&self, column: C) -> Result<T> {
        T::from_cell(self.0.cell(column.as_ref())?).ok_or(StorageError::Damaged("value"))
    }
}

/// What a column can hold.
pub(in crate::storage) trait FromCell: Sized {
    /// The value; `None` if the column holds something else.
    fn from_cell(cell: Cell<'_>) -> Option<Self>;
}

impl FromCell for i64 {
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Int(value) = cell { Some(value) } else { None }
    }
}

impl FromCell for u32 {
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        i64::from_cell(cell)?.try_into().ok()
    }
}

impl FromCell for bool {
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        Some(i64::from_cell(cell)? != 0)
    }
}

impl FromCell for String {
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Text(text) = cell { Some(text.into_owned()) } else { None }
    }
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Blob(bytes) = cell { Some(bytes.to_vec()) } else { None }
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}
