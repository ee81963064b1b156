//! Money: integer cents inside the code, a JSON number with two decimals on the wire (`4.50`).

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul, Sub};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount in hundredths of the shop's one currency; never negative on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub i64);

impl Cents {
    /// The largest amount accepted from the wire: ten million. It keeps every sum far from overflow.
    pub const MAX: Cents = Cents(1_000_000_000);
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02}", self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100)
    }
}

impl Add for Cents {
    type Output = Cents;
    fn add(self, other: Cents) -> Cents {
        Cents(self.0 + other.0)
    }
}

impl Sub for Cents {
    type Output = Cents;
    fn sub(self, other: Cents) -> Cents {
        Cents(self.0 - other.0)
    }
}

impl Mul<u32> for Cents {
    type Output = Cents;
    fn mul(self, quantity: u32) -> Cents {
        Cents(self.0 * i64::from(quantity))
    }
}

impl Sum for Cents {
    fn sum<I: Iterator<Item = Cents>>(amounts: I) -> Cents {
        amounts.fold(Cents(0), Add::add)
    }
}

impl Serialize for Cents {
    /// Written as raw JSON, because a float would print `4.5`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = self.to_string();
        serde_json::from_str::<&RawValue>(&json).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cents, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Cents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an amount between 0 and {} with at most two decimals", Cents::MAX)
    }

    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Cents, E> {
        self.visit_f64(whole as f64)
    }

    fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Cents, E> {
        self.visit_f64(whole as f64)
    }

    /// Below [`Cents::MAX`] a double is exact to far less than a cent, so rounding cannot pick a wrong one. What somebody has
    /// added up in doubles, as 12.600000000000001, is no third decimal.
    fn visit_f64<E: de::Error>(self, amount: f64) -> Result<Cents, E> {
        let cents = amount * 100.0;
        let rounded = cents.round();
        if !(0.0..=Cents::MAX.0 as f64).contains(&rounded) || (cents - rounded).abs() > 1e-6 {
            return Err(E::invalid_value(de::Unexpected::Float(amount), &self));
        }
        Ok(Cents(rounded as i64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_amount_survives_the_wire(cents in 0..=Cents::MAX.0) {
            let json = serde_json::to_string(&Cents(cents)).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<Cents>(&json).expect("parses"), Cents(cents));
        }
    }

    #[test]
    fn a_third_decimal_is_refused_however_small() {
        for amount in ["4.501", "4.5000009", "0.0000001", "-0.01", "1e300"] {
            assert!(serde_json::from_str::<Cents>(amount).is_err(), "{amount}");
        }
        for (amount, cents) in [("4.50", 450), ("45e-1", 450), ("0.07", 7), ("12.600000000000001", 1260)] {
            assert_eq!(serde_json::from_str::<Cents>(amount).expect(amount), Cents(cents));
        }
    }

    #[test]
    fn two_decimals_are_always_written() {
        assert_eq!(serde_json::to_string(&Cents(450)).expect("serialises"), "4.50");
        assert_eq!(serde_json::to_string(&Cents(900)).expect("serialises"), "9.00");
    }

    #[test]
    fn amounts_that_are_not_money_are_refused() {
        for bad in ["-1", "4.505", "\"4.50\"", "1e300", "null", "10000000.01"] {
            assert!(serde_json::from_str::<Cents>(bad).is_err(), "{bad} was accepted");
        }
    }
}
