//! rolecall: what people type.
