//! Rows as the database holds them.

use crate::StateError;
use crate::cell::{Cells, Value};

/// A row of one table.
pub(crate) trait Stored: Sized + Send {
    const TABLE: &'static str;
    const COLUMNS: &'static [&'static str];
    const KEY: &'static [&'static str];
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError>;
    fn values(&self) -> Vec<Value>;
}

/// A structure whose fields are the columns of a table: `in TABLE (KEY)`.
macro_rules! rows {
    ($(
        $(#[$about:meta])*
        $seen:vis struct $name:ident in $table:ident ($($key:ident),+) {
            $($(#[$note:meta])* $column:ident: $kind:ty,)+
        }
    )+) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $seen struct $name {
            $($(#[$note])* pub $column: $kind,)+
        }

        impl $crate::stored::Stored for $name {
            const TABLE: &'static str = stringify!($table);
            const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),+];
            const KEY: &'static [&'static str] = &[$(stringify!($key)),+];

            fn read(cells: &mut $crate::cell::Cells<'_>) -> Result<Self, $crate::StateError> {
                Ok(Self { $($column: cells.take()?,)+ })
            }

            fn values(&self) -> Vec<$crate::cell::Value> {
                use $crate::cell::Cell as _;
                vec![$(self.$column.value()),+]
            }
        }
    )+};
}
pub(crate) use rows;
