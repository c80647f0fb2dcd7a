//! Functions of our own over what a call needs, and which of the engine's are not there.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray as _, ListArray, StringArray, StructArray},
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Fields},
};
use datafusion::{
    common::{Result, exec_datafusion_err},
    execution::SessionStateBuilder,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

/// Functions that make much of little. What they make is not counted as memory of a question, so they are not there.
const UNBOUNDED: &[&str] = &[
    "array_repeat",
    "array_resize",
    "generate_series",
    "lpad",
    "range",
    "repeat",
    "rpad",
    "replace",
    "translate",
];

/// Takes away what is not bounded, and adds ours.
pub(super) fn keep_bounded(state: &mut SessionStateBuilder) {
    if let Some(functions) = state.scalar_functions() {
        functions.retain(|it| !UNBOUNDED.contains(&it.name()));
        functions
            .extend(Kind::ALL.map(|kind| Arc::new(ScalarUDF::new_from_impl(Function::of(kind)))));
    }
    // Tables that functions make: `range` and `generate_series`.
    *state.table_functions() = None;
}

/// What is asked of the resources of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Pairs of action and resource, one of nothing at all where nothing is known.
    Needs,
    /// The resources that are known; missing where none is, and one should be.
    Arns,
    /// Whether all, a part or nothing of it is known.
    Named,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Needs, Self::Arns, Self::Named];

    fn name(self) -> &'static str {
        match self {
            Self::Needs => "needs",
            Self::Arns => "arns",
            Self::Named => "named",
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    kind: Kind,
    signature: Signature,
}

impl Function {
    fn of(kind: Kind) -> Self {
        Self { kind, signature: Signature::any(1, Volatility::Immutable) }
    }
}

fn pair() -> Fields {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Fields::from(vec![text("action"), text("resource")])
}

fn element(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", kind, true))
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Needs => DataType::List(element(DataType::Struct(pair()))),
            Kind::Arns => DataType::List(element(DataType::Utf8)),
            Kind::Named => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let resources = arrays.first().and_then(Resources::of);
        let resources = resources.ok_or_else(|| {
            exec_datafusion_err!("`{}` takes the column `resources` of `ocsf_calls`", self.name())
        })?;
        let result: ArrayRef = match self.kind {
            Kind::Needs => Arc::new(resources.needs()?),
            Kind::Arns => Arc::new(resources.arns()?),
            Kind::Named => Arc::new(resources.named()),
        };
        Ok(ColumnarValue::Array(result))
    }
}

/// The column of resources, taken apart.
struct Resources<'a> {
    list: &'a ListArray,
    uids: &'a StringArray,
    labels: &'a ListArray,
    actions: &'a StringArray,
}

/// What stands for no resource in particular.
const ANY: &str = "*";

impl<'a> Resources<'a> {
    fn of(array: &'a ArrayRef) -> Option<Self> {
        let list = array.as_list_opt::<i32>()?;
        let element = list.values().as_struct_opt()?;
        let labels = element.column_by_name("labels")?.as_list_opt::<i32>()?;
        let uids = element.column_by_name("uid")?.as_string_opt::<i32>()?;
        let actions = labels.values().as_string_opt::<i32>()?;
        Some(Self { list, uids, labels, actions })
    }

    /// For each row, the places of its elements; nothing where the list is missing.
    fn rows(&self) -> impl Iterator<Item = Option<std::ops::Range<usize>>> {
        (0..self.list.len()).map(|row| places(self.list, row))
    }

    fn uid(&self, at: usize) -> Option<&'a str> {
        self.uids.is_valid(at).then(|| self.uids.value(at))
    }

    fn needs(&self) -> Result<ListArray> {
        let (mut actions, mut resources, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.rows() {
            let before = actions.len();
            match row {
                None => {
                    actions.push(None);
                    resources.push(None);
                }
                Some(elements) => {
                    for at in elements {
                        for label in places(self.labels, at).into_iter().flatten() {
                            actions.push(Some(self.actions.value(label)));
                            resources.push(self.uid(at));
                        }
                    }
                }
            }
            lengths.push(actions.len() - before);
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(actions)), Arc::new(StringArray::from(resources))];
        let pairs = StructArray::try_new(pair(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let element = element(DataType::Struct(pair()));
        Ok(ListArray::try_new(element, offsets, Arc::new(pairs), None)?)
    }

    fn arns(&self) -> Result<ListArray> {
        let (mut arns, mut lengths, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.rows() {
            let before = arns.len();
            let mut whole = row.is_some();
            for at in row.into_iter().flatten() {
                let uid = self.uid(at);
                whole &= uid.is_some();
                arns.extend(uid.filter(|uid| *uid != ANY));
            }
            lengths.push(arns.len() - before);
            known.push(whole || arns.len() > before);
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        let arns = Arc::new(StringArray::from_iter_values(arns));
        let known = NullBuffer::from(known);
        Ok(ListArray::try_new(element(DataType::Utf8), offsets, arns, Some(known))?)
    }

    fn named(&self) -> StringArray {
        let named = self.rows().map(|row| {
            let Some(mut elements) = row else { return "nothing" };
            if elements.all(|at| self.uid(at).is_some()) { "all" } else { "part" }
        });
        StringArray::from_iter_values(named)
    }
}

/// Where the elements of a row are; nothing where its list is missing.
fn places(list: &ListArray, row: usize) -> Option<std::ops::Range<usize>> {
    let ends = list.value_offsets().get(row..=row + 1)?;
    let [begin, end] = ends else { return None };
    let place = |offset: &i32| usize::try_from(*offset).ok();
    list.is_valid(row).then_some(place(begin)?..place(end)?)
}
