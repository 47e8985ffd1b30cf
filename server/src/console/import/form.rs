//! The mapping as the form shows and sends it.

use crate::admin::{Mapping, TerritoryFrom};
use crate::console::show;
use roundsman_model::Entity;
use roundsman_model::customer::Customer;
use std::collections::BTreeMap;

/// The field that has a question of its own.
const TERRITORY: &str = "territory";

/// Which column holds what, as chosen so far. An empty text is no choice.
#[derive(Clone, Default)]
pub(super) struct MappingForm {
    columns: BTreeMap<String, String>,
    pub(super) fixed: bool,
    pub(super) territory_column: String,
    pub(super) territory_code: String,
    pub(super) filter_column: String,
    pub(super) filter_value: String,
}

/// One field of a customer with its column.
pub(super) struct FieldRow {
    pub(super) name: &'static str,
    pub(super) label: String,
    pub(super) required: bool,
    pub(super) column: String,
}

impl MappingForm {
    /// What the header suggests.
    pub(super) fn guess(headers: &[String]) -> Self {
        let Mapping { columns, territory, filter } = Mapping::guess(headers);
        let (filter_column, filter_value) = filter.unwrap_or_default();
        let form = Self { columns, filter_column, filter_value, ..Self::default() };
        match territory {
            TerritoryFrom::Column(column) if headers.contains(&column) => {
                Self { territory_column: column, ..form }
            }
            TerritoryFrom::Column(_) => Self { fixed: true, ..form },
            TerritoryFrom::Fixed(code) => Self { fixed: true, territory_code: code, ..form },
        }
    }

    /// What was sent. Columns the file does not have are no choice.
    pub(super) fn read(sent: &[(String, String)], headers: &[String]) -> Self {
        let mut form = Self::default();
        for (name, value) in sent {
            let column = || if headers.contains(value) { value.clone() } else { String::new() };
            match name.as_str() {
                "territory_from" => form.fixed = value == "fixed",
                "territory_column" => form.territory_column = column(),
                "territory_code" => value.trim().clone_into(&mut form.territory_code),
                "filter_column" => form.filter_column = column(),
                "filter_value" => value.trim().clone_into(&mut form.filter_value),
                other => {
                    if let Some(field) = other.strip_prefix("field.").filter(|_| !column().is_empty()) {
                        form.columns.insert(field.to_owned(), column());
                    }
                }
            }
        }
        form
    }

    /// The fields to choose columns for.
    pub(super) fn rows(&self) -> Vec<FieldRow> {
        let fields = Customer::DEF.fields.iter().filter(|field| field.name != TERRITORY);
        let row = |field: &roundsman_model::FieldDef| FieldRow {
            name: field.name,
            label: show::field(field.name),
            required: field.required,
            column: self.columns.get(field.name).cloned().unwrap_or_default(),
        };
        fields.map(row).collect()
    }

    /// The mapping, if nothing is missing.
    ///
    /// # Errors
    /// What to do, as a sentence.
    pub(super) fn mapping(&self) -> Result<Mapping, &'static str> {
        let territory = match (self.fixed, &self.territory_column, &self.territory_code) {
            (true, _, code) if code.is_empty() => return Err("Type the territory's code."),
            (true, _, code) => TerritoryFrom::Fixed(code.clone()),
            (false, column, _) if column.is_empty() => {
                return Err("Choose the column that holds the territory.");
            }
            (false, column, _) => TerritoryFrom::Column(column.clone()),
        };
        let filter = match (&self.filter_column, &self.filter_value) {
            (column, _) if column.is_empty() => None,
            (_, value) if value.is_empty() => return Err("Type the value that the rows to take must have."),
            (column, value) => Some((column.clone(), value.clone())),
        };
        Ok(Mapping { columns: self.columns.clone(), territory, filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_columns_of_the_file_are_taken() {
        let headers = ["Id".to_owned(), "State".to_owned()];
        let sent = [("field.code", "Id"), ("field.name", "../etc"), ("territory_column", "State")];
        let form = MappingForm::read(&pairs(&sent), &headers);
        let mapping = form.mapping();
        assert_eq!(
            mapping.map(|mapping| (mapping.columns, mapping.territory)),
            Ok((
                BTreeMap::from([("code".to_owned(), "Id".to_owned())]),
                TerritoryFrom::Column("State".to_owned())
            ))
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let form = MappingForm::read(&pairs(&[("territory_from", "fixed")]), &[]);
        assert_eq!(form.mapping(), Err("Type the territory's code."));
        let headers = ["State".to_owned()];
        let sent = [("territory_from", "fixed"), ("territory_code", "NJ"), ("filter_column", "State")];
        assert!(MappingForm::read(&pairs(&sent), &headers).mapping().is_err());
    }
}
