//! Objects as a table for people (`kubectl get`): columns and cells as the API server prints them
//! (k8s.io/kubernetes/pkg/printers/internalversion).

mod cells;
mod columns;
mod pod;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::forms::{Include, metadata_of};
use crate::store::Kind;

/// A column of a kind's table.
struct Column {
    name: &'static str,
    /// Shown only to those who ask for more (`-o wide`).
    wide: bool,
    cell: Cell,
}

/// What stands in a column. Pointers are JSON pointers into the object.
enum Cell {
    /// Its name.
    Name,
    /// How long ago it was created.
    Age,
    /// How long ago a moment was.
    Since(&'static str),
    /// A text, and what stands there without it.
    Text(&'static str, &'static str),
    /// A number; 0 without it.
    Number(&'static str),
    /// A truth; false without it.
    Flag(&'static str),
    /// What a function makes of the object.
    Made(fn(&Value) -> Value),
    /// The same, which depends on the moment.
    Timed(fn(&Value, Timestamp) -> Value),
}

impl Cell {
    const fn type_of(&self) -> &'static str {
        match self {
            Self::Number(_) => "integer",
            Self::Flag(_) => "boolean",
            _ => "string",
        }
    }

    fn of(&self, object: &Value, now: Timestamp) -> Value {
        let at = |pointer: &str| object.pointer(pointer).unwrap_or(&Value::Null);
        match self {
            Self::Name => at("/metadata/name").clone(),
            Self::Age => cells::since(at("/metadata/creationTimestamp"), now).into(),
            Self::Since(pointer) => cells::since(at(pointer), now).into(),
            Self::Text(pointer, none) => match at(pointer) {
                Value::Null => (*none).into(),
                Value::String(text) if text.is_empty() => (*none).into(),
                Value::String(text) => text.as_str().into(),
                other => other.to_string().into(),
            },
            Self::Number(pointer) => at(pointer).as_i64().unwrap_or_default().into(),
            Self::Flag(pointer) => at(pointer).as_bool().unwrap_or_default().into(),
            Self::Made(make) => make(object),
            Self::Timed(make) => make(object, now),
        }
    }
}

/// The table of some objects.
pub(super) fn of(
    kind: Kind,
    metadata: &Value,
    objects: Vec<Value>,
    include: Include,
    now: Timestamp,
) -> Value {
    let columns = columns::of(kind);
    let definitions = columns.iter().map(|column| {
        let format = if matches!(column.cell, Cell::Name) { "name" } else { "" };
        json!({
            "name": column.name, "type": column.cell.type_of(), "format": format, "description": "",
            "priority": i32::from(column.wide),
        })
    });
    let rows = objects.into_iter().map(|object| {
        let cells: Value = columns.iter().map(|column| column.cell.of(&object, now)).collect();
        let object = match include {
            Include::Nothing => Value::Null,
            Include::Metadata => metadata_of(object),
            Include::Object => object,
        };
        json!({ "cells": cells, "object": object })
    });
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions.collect::<Value>(), "rows": rows.collect::<Value>(),
    })
}

#[cfg(test)]
mod tests;
