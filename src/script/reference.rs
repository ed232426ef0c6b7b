//! The reference for those who write scripts: the text of `docs/script-reference.md`, and nothing else.
#![doc = ""]
#![doc = include_str!("../../docs/script-reference.md")]
