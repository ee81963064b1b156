//! Whether a text can be an e-mail address, by the rule browsers use
//! (<https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address>) plus the lengths and the
//! misplaced dots that mail servers refuse. Whether somebody reads it only a mail can tell.

const MAX_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;
const MAX_LABEL_BYTES: usize = 63;

pub fn check(address: &str) -> Result<(), String> {
    if address.len() > MAX_BYTES {
        return Err(format!("has {} bytes, at most {MAX_BYTES} are allowed", address.len()));
    }
    match address.split_once('@') {
        Some((local, domain)) if is_local(local) && is_domain(domain) => Ok(()),
        _ => Err("is not an e-mail address like name@example.com".to_owned()),
    }
}

fn is_local(local: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b);
    local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(allowed))
}

fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in ["a@example.com", "first.last+coffee@sub.example.co", "o'neil@localhost"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@b.c",
            "a@",
            "a b@c.d",
            "a@b@c.d",
            "a@-b.c",
            "a..b@c.d",
            "a@b..c",
            "a@b.c\r\nBcc: x",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
