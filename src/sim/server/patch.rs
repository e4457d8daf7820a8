//! JSON Patch and JSON Merge Patch.

use json_patch::PatchOperation;
use serde_json::Value;

use super::problem::Problem;

/// Applies a JSON Patch the way the real server's library does: a missing value tests equal to `null`, if only it itself is missing.
///
/// # Errors
/// `BadRequest` for what is not a patch, `Invalid` (422) for one that cannot be applied, a failed `test` included.
pub fn json_patch(current: &Value, patch: &Value) -> Result<Value, Problem> {
    let operations: Vec<PatchOperation> =
        serde_json::from_value(patch.clone()).map_err(|error| Problem::bad_request(format!("error decoding patch: {error}")))?;
    let mut next = current.clone();
    for operation in operations {
        match &operation {
            PatchOperation::Test(test) => {
                let found = next.pointer(test.path.as_str()).unwrap_or(&Value::Null);
                let around = test.path.as_str().rsplit_once('/').map_or("", |(around, _)| around);
                if *found != test.value || next.pointer(around).is_none() {
                    return Err(Problem::unprocessable(&format!("testing value {} failed", test.path)));
                }
            }
            _ => json_patch::patch(&mut next, std::slice::from_ref(&operation))
                .map_err(|error| Problem::unprocessable(&error.to_string()))?,
        }
    }
    Ok(next)
}

/// Applies a JSON Merge Patch (RFC 7386): `null` removes, lists are replaced.
pub fn merge(current: &Value, patch: &Value) -> Value {
    let mut next = current.clone();
    json_patch::merge(&mut next, patch);
    next
}
