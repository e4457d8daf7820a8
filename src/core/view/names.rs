//! The names of canary Deployments.

/// The longest name of the canary: its pods append `-<hash>-<5 characters>` to it, and a pod's host name has at most 63.
const NAME_LENGTH: usize = 63 - 11 - 6;

/// Digits of the revision in the name.
const REVISION_DIGITS: usize = 6;

/// The name of the canary Deployment of a revision: `hello-3f9c1a`. A long Deployment name is cut.
pub fn canary(deployment: &str, revision: &str) -> String {
    format!("{}-{}", stem(deployment), revision.get(..REVISION_DIGITS).unwrap_or(revision))
}

/// Whether a Deployment has the name of a canary of another one.
pub fn is_canary(deployment: &str, name: &str) -> bool {
    let digits = name.strip_prefix(stem(deployment)).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|digits| digits.len() == REVISION_DIGITS && digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')))
}

/// What the names of a Deployment's canaries begin with: its own name, as far as there is room for it.
pub fn stem(deployment: &str) -> &str {
    let room = NAME_LENGTH - 1 - REVISION_DIGITS;
    let end = deployment.char_indices().nth(room).map_or(deployment.len(), |(i, _)| i);
    deployment[..end].trim_end_matches(['-', '.'])
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_name_leaves_room_for_the_suffixes_of_its_pods() {
        assert_eq!(canary("hello", "3f9c1ab27d"), "hello-3f9c1a");
        assert!(is_canary("hello", "hello-3f9c1a"));
        for other in ["hello", "hello-web", "hello-3f9c1ab", "hello-workers", "billing", "hell-3f9c1a", "hello-3F9C1A"] {
            assert!(!is_canary("hello", other), "{other}");
        }
        let long = canary(&"x".repeat(80), "3f9c1ab27d");
        assert!(format!("{long}-5d4f8c7b9d-abcde").len() <= 63, "{long}");
        assert_eq!(canary(&format!("{}-tail", "x".repeat(38)), "3f9c1ab27d"), format!("{}-3f9c1a", "x".repeat(38)));
    }
}
