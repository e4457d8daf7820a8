//! The engine of the verdicts against an independent calculation, and what holds of it for any input.

#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking, and what is left alone is exactly the same")]

#[path = "../../examples/verdicts/draw.rs"]
#[allow(dead_code, reason = "the simulation draws more than the tests")]
mod draw;
mod properties;
#[path = "../../examples/verdicts/vectors.rs"]
mod vectors;

/// Made by `python tests/verdict/reference.py gen 1 tests/verdict/vectors.json`.
const VECTORS: &str = include_str!("vectors.json");

#[test]
fn the_engine_matches_the_reference_to_nine_digits() {
    let matched = vectors::check(VECTORS).unwrap();
    assert_eq!(matched, vectors::Matched { cases: 122, values: 2681 });
}

#[test]
fn a_vector_that_does_not_match_is_found() {
    for (from, to) in [
        ("0.0017706944814795344", "0.0017706964814795344"),
        (r#""rollback_at":1"#, r#""rollback_at":2"#),
        (r#""verdict":["wait""#, r#""verdict":["watch""#),
    ] {
        let spoilt = VECTORS.replacen(from, to, 1);
        assert_ne!(spoilt, VECTORS, "{from}");
        assert!(vectors::check(&spoilt).is_err(), "{from}");
    }
    assert!(vectors::check(r#"{"other":[]}"#).is_err());
    assert!(vectors::check("{}").is_err());
}
