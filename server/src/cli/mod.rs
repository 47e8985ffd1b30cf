//! Commands of the command line that have more to say than one line.

pub(crate) mod attachments;
pub(crate) mod audit;
pub(crate) mod enrolments;
pub(crate) mod escrow;
pub(crate) mod locks;
pub(crate) mod policy;
pub(crate) mod rescue;
pub(crate) mod roots;
pub(crate) mod verify;
pub(crate) mod wipes;

use std::fmt::Display;

/// Prints rows in columns, each as wide as its widest cell; numbers of the last `numbers` columns stand right.
pub(crate) fn table(head: &[&str], numbers: usize, rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let first_number = head.len().saturating_sub(numbers);
    let print = |cells: &mut dyn Iterator<Item = &dyn Display>| {
        let mut line = String::new();
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            let cell = cell.to_string();
            let padded =
                if column < first_number { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
            line.push_str(&padded);
        }
        println!("{}", line.trim_end());
    };
    print(&mut head.iter().map(|name| name as &dyn Display));
    for row in rows {
        print(&mut row.iter().map(|cell| cell as &dyn Display));
    }
}
