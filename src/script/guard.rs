//! The language's functions whose results can be out of all proportion to their arguments, in a form that asks first whether
//! the memory budget bears it. A single call must neither exhaust the process nor its stack.

use rhai::{Array, Blob, Dynamic, EvalAltResult, INT, ImmutableString, Map, Module, NativeCallContext, Position};

use super::value::{MAX_DEPTH, is_shallow};
use super::{Space, Thrown, failure, run, steps};

/// What an element of an array takes, and a string of its own.
const ELEMENT: usize = size_of::<Dynamic>();
const TEXT: usize = ELEMENT + 48;

fn fits(bytes: usize) -> Result<(), Thrown> {
    if bytes <= steps::room() { Ok(()) } else { Err(run::out_of_memory(bytes)) }
}

fn count(number: INT) -> usize {
    usize::try_from(number).unwrap_or(if number < 0 { 0 } else { usize::MAX })
}

/// What a copy of a value takes beside its place: texts are shared by all copies, what holds other values is copied.
fn copied(value: &Dynamic) -> usize {
    let all = |sum: usize, inner: &Dynamic| sum.saturating_add(ELEMENT).saturating_add(copied(inner));
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().fold(0, all);
    }
    if let Some(entries) = value.read_lock::<Map>() {
        // A name is of its own in each copy.
        return entries.iter().fold(0, |sum, (name, inner)| all(sum.saturating_add(TEXT + name.len()), inner));
    }
    value.read_lock::<Blob>().map_or(0, |blob| blob.len())
}

pub(super) fn module() -> Module {
    let mut module = Module::new();
    padding(&mut module);
    replacing(&mut module);
    splitting(&mut module);
    showing(&mut module);
    comparing(&mut module);
    module
}

fn padding(module: &mut Module) {
    fn pad(string: &mut ImmutableString, length: INT, padding: &str) -> Result<(), Thrown> {
        let missing = count(length).saturating_sub(string.chars().count());
        if missing == 0 || padding.is_empty() {
            return Ok(());
        }
        fits(missing.saturating_mul(4).saturating_add(string.len()))?;
        let mut text = string.to_string();
        text.extend(padding.chars().cycle().take(missing));
        *string = text.into();
        Ok(())
    }
    let space = Space::Plain;
    space.function("pad").with_purity(false).set_into_module(
        module,
        |string: &mut ImmutableString, length: INT, padding: char| {
            pad(string, length, padding.encode_utf8(&mut [0; 4]))
        },
    );
    space.function("pad").with_purity(false).set_into_module(module, pad);
    let pad_array = |array: &mut Array, length: INT, item: Dynamic| {
        let length = count(length);
        if length > array.len() {
            fits((length - array.len()).saturating_mul(ELEMENT.saturating_add(copied(&item))))?;
            array.resize(length, item);
        }
        Ok::<_, Thrown>(())
    };
    space.function("pad").with_purity(false).set_into_module(module, pad_array);
    let pad_blob = |blob: &mut Blob, length: INT, value: INT| {
        let length = count(length);
        if length > blob.len() {
            fits(length)?;
            blob.resize(length, value as u8);
        }
        Ok::<_, Thrown>(())
    };
    space.function("pad").with_purity(false).set_into_module(module, pad_blob);
    space.function("blob").set_into_module(module, |length: INT| {
        fits(count(length))?;
        Ok::<_, Thrown>(vec![0_u8; count(length)])
    });
    space.function("blob").set_into_module(module, |length: INT, value: INT| {
        fits(count(length))?;
        Ok::<_, Thrown>(vec![value as u8; count(length)])
    });
    space.function("to_array").set_into_module(module, |blob: &mut Blob| {
        fits(blob.len().saturating_mul(ELEMENT))?;
        Ok::<Array, Thrown>(blob.iter().map(|byte| INT::from(*byte).into()).collect())
    });
}

fn replacing(module: &mut Module) {
    fn replace(string: &mut ImmutableString, from: &str, to: &str) -> Result<(), Thrown> {
        if to.len() > from.len() {
            let grown = string.matches(from).count().saturating_mul(to.len() - from.len());
            fits(grown.saturating_add(string.len()))?;
        }
        if !string.is_empty() {
            *string = string.replace(from, to).into();
        }
        Ok(())
    }
    fn text(char: char) -> String {
        char.to_string()
    }
    let function = || Space::Plain.function("replace").with_purity(false);
    function().set_into_module(module, replace);
    function()
        .set_into_module(module, |string: &mut ImmutableString, from: &str, to: char| replace(string, from, &text(to)));
    function()
        .set_into_module(module, |string: &mut ImmutableString, from: char, to: &str| replace(string, &text(from), to));
    function().set_into_module(module, |string: &mut ImmutableString, from: char, to: char| {
        replace(string, &text(from), &text(to))
    });
}

fn splitting(module: &mut Module) {
    fn parts<'a>(text: &str, parts: impl Iterator<Item = &'a str> + Clone) -> Result<Array, Thrown> {
        // Most texts are small enough not to be looked at twice.
        let most = text.len().saturating_add(1).saturating_mul(TEXT);
        if most > steps::room() {
            fits(parts.clone().map(|part| TEXT + part.len()).sum())?;
        }
        Ok(parts.map(|part| part.to_owned().into()).collect())
    }
    /// As the language has it: one part at least.
    fn at_most(segments: INT) -> usize {
        count(segments).max(1)
    }
    let space = Space::Plain;
    space.function("split").set_into_module(module, |text: &mut ImmutableString| parts(text, text.split_whitespace()));
    space.function("to_chars").set_into_module(module, |text: &str| {
        fits(text.chars().count().saturating_mul(ELEMENT))?;
        Ok::<Array, Thrown>(text.chars().map(Dynamic::from).collect())
    });
    space.function("split").set_into_module(module, |text: &mut ImmutableString, at: &str| parts(text, text.split(at)));
    space.function("split").set_into_module(module, |text: &mut ImmutableString, at: char| parts(text, text.split(at)));
    space.function("split").set_into_module(module, |text: &mut ImmutableString, at: &str, most: INT| {
        parts(text, text.splitn(at_most(most), at))
    });
    space.function("split").set_into_module(module, |text: &mut ImmutableString, at: char, most: INT| {
        parts(text, text.splitn(at_most(most), at))
    });
    space
        .function("split_rev")
        .set_into_module(module, |text: &mut ImmutableString, at: &str| parts(text, text.rsplit(at)));
    space
        .function("split_rev")
        .set_into_module(module, |text: &mut ImmutableString, at: char| parts(text, text.rsplit(at)));
    space.function("split_rev").set_into_module(module, |text: &mut ImmutableString, at: &str, most: INT| {
        parts(text, text.rsplitn(at_most(most), at))
    });
    space.function("split_rev").set_into_module(module, |text: &mut ImmutableString, at: char, most: INT| {
        parts(text, text.rsplitn(at_most(most), at))
    });
}

/// Arrays and maps as text. A text that is in an array many times is in memory once, but many times in the text of the array.
fn showing(module: &mut Module) {
    for name in ["print", "to_string", "debug", "to_debug"] {
        Space::Plain.function(name).set_into_module(module, |ctx: NativeCallContext, array: &mut Array| {
            let mut out = String::new();
            show_array(&ctx, array, &mut out, MAX_DEPTH);
            Ok::<_, Thrown>(out)
        });
        Space::Plain.function(name).set_into_module(module, |ctx: NativeCallContext, map: &mut Map| {
            let mut out = String::new();
            show_map(&ctx, map, &mut out, MAX_DEPTH);
            Ok::<_, Thrown>(out)
        });
    }
}

fn show(ctx: &NativeCallContext, value: &mut Dynamic, out: &mut String, depth: usize) {
    if let Some(mut array) = value.write_lock::<Array>() {
        return show_array(ctx, &mut array, out, depth - 1);
    }
    if let Some(mut map) = value.write_lock::<Map>() {
        return show_map(ctx, &mut map, out, depth - 1);
    }
    match ctx.call_native_fn_raw("to_debug", true, &mut [value]) {
        Ok(text) => push(out, &text.into_immutable_string().unwrap_or_default()),
        Err(_) => push(out, value.type_name()),
    }
}

/// Adds to the text unless that is too much: the run ends at its next operation then. Callers in the language swallow
/// errors of these functions and show the value in another way, so there is none.
fn push(out: &mut String, text: &str) {
    if text.len().saturating_mul(2).saturating_add(out.len()) <= steps::room() {
        out.push_str(text);
    } else {
        let _ended = run::out_of_memory(out.len().saturating_add(text.len()));
    }
}

fn show_array(ctx: &NativeCallContext, array: &mut Array, out: &mut String, depth: usize) {
    out.push('[');
    for (place, item) in array.iter_mut().enumerate() {
        push(out, if place == 0 { "" } else { ", " });
        if depth == 0 || run::has_ended() {
            return push(out, "…");
        }
        show(ctx, item, out, depth);
    }
    out.push(']');
}

fn show_map(ctx: &NativeCallContext, map: &mut Map, out: &mut String, depth: usize) {
    out.push_str("#{");
    for (place, (name, value)) in map.iter_mut().enumerate() {
        push(out, if place == 0 { "" } else { ", " });
        if depth == 0 || run::has_ended() {
            return push(out, "…");
        }
        push(out, &format!("{name:?}: "));
        show(ctx, value, out, depth);
    }
    out.push('}');
}

/// Comparing goes as deep as the values; the stack does not.
fn comparing(module: &mut Module) {
    for (name, same) in [("==", true), ("!=", false)] {
        let arrays = move |ctx: NativeCallContext, left: &mut Array, right: Array| {
            shallow(left.iter().chain(&right), ctx.call_position())?;
            equal_arrays(&ctx, left, &right).map(|equal| equal == same)
        };
        Space::Plain.function(name).set_into_module(module, arrays);
        let maps = move |ctx: NativeCallContext, left: &mut Map, right: Map| {
            shallow(left.values().chain(right.values()), ctx.call_position())?;
            equal_maps(&ctx, left, &right).map(|equal| equal == same)
        };
        Space::Plain.function(name).set_into_module(module, maps);
    }
}

fn shallow<'a>(mut values: impl Iterator<Item = &'a Dynamic>, at: Position) -> Result<(), Thrown> {
    if values.all(|value| is_shallow(value, MAX_DEPTH)) {
        return Ok(());
    }
    Err(failure::invalid(&format!("values nested deeper than {MAX_DEPTH} levels are not compared"), at))
}

fn equal(ctx: &NativeCallContext, left: &Dynamic, right: &Dynamic) -> Result<bool, Thrown> {
    if let (Some(left), Some(right)) = (left.read_lock::<Array>(), right.read_lock::<Array>()) {
        return equal_arrays(ctx, &left, &right);
    }
    if let (Some(left), Some(right)) = (left.read_lock::<Map>(), right.read_lock::<Map>()) {
        return equal_maps(ctx, &left, &right);
    }
    match ctx.call_native_fn_raw("==", true, &mut [&mut left.clone(), &mut right.clone()]) {
        Ok(same) => Ok(same.as_bool().unwrap_or(false)),
        // Values of different kinds that nobody compares.
        Err(error) if matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn equal_arrays(ctx: &NativeCallContext, left: &Array, right: &Array) -> Result<bool, Thrown> {
    let mut pairs = left.iter().zip(right);
    Ok(left.len() == right.len() && all(&mut pairs, |(left, right)| equal(ctx, left, right))?)
}

fn equal_maps(ctx: &NativeCallContext, left: &Map, right: &Map) -> Result<bool, Thrown> {
    let mut pairs = left.iter().zip(right);
    let same =
        |((name, left), (other, right)): ((_, &Dynamic), (_, &Dynamic))| Ok(name == other && equal(ctx, left, right)?);
    Ok(left.len() == right.len() && all(&mut pairs, same)?)
}

fn all<T>(items: &mut impl Iterator<Item = T>, mut is: impl FnMut(T) -> Result<bool, Thrown>) -> Result<bool, Thrown> {
    for item in items {
        if !is(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}
