//! What is ordered: the n-th order of a seed is the same on every machine, whatever became of those before.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::notes::Line;

const CUSTOMERS: u32 = 300;
/// Customers whose id begins so are always declined by the card processor.
pub const DECLINED: &str = "declined-";

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct MenuItem {
    pub sku: String,
    #[serde(rename = "price", deserialize_with = "cents")]
    pub cents: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub key: String,
    pub customer: String,
    pub lines: Vec<Line>,
    pub total_cents: i64,
    pub repeated: Repeated,
    /// For the pauses before sending it again.
    pub dice: ChaCha8Rng,
}

/// Whether an order is sent a second time although the first was or may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    No,
    /// Two requests at the very same time.
    AtOnce,
    /// This long after its 201.
    Later(Duration),
}

impl Order {
    pub fn nth(seed: u64, n: u64, menu: &[MenuItem]) -> Order {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        dice.set_stream(n);
        let customer = match dice.random_ratio(1, 50) {
            true => format!("{DECLINED}{}", dice.random_range(0..10)),
            false => format!("cust-{}", dice.random_range(0..CUSTOMERS)),
        };
        let (mut lines, mut total_cents) = (Vec::new(), 0);
        for _ in 0..dice.random_range(1..=4) {
            let item = &menu[dice.random_range(0..menu.len() as u32) as usize];
            let quantity = dice.random_range(1..=3);
            total_cents += item.cents * quantity;
            lines.push(Line { sku: item.sku.clone(), quantity });
        }
        let repeated = match dice.random_range(0..100) {
            0..2 => Repeated::AtOnce,
            2..5 => Repeated::Later(Duration::from_millis(dice.random_range(10..10_000))),
            _ => Repeated::No,
        };
        Order { key: format!("chaos-{seed}-{n}"), customer, lines, total_cents, repeated, dice }
    }
}

/// Money on the wire is a number with two decimals.
pub fn cents<'de, D: serde::Deserializer<'de>>(json: D) -> Result<i64, D::Error> {
    let amount: f64 = serde::Deserialize::deserialize(json)?;
    Ok((amount * 100.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu() -> Vec<MenuItem> {
        serde_json::from_str(r#"[{"sku": "latte", "price": 4.50}, {"sku": "mocha", "price": 4.90}]"#)
            .expect("a menu")
    }

    #[test]
    fn the_same_seed_orders_the_same() {
        let menu = menu();
        for n in 0..100 {
            assert_eq!(Order::nth(7, n, &menu), Order::nth(7, n, &menu));
            assert_ne!(Order::nth(7, n, &menu).dice, Order::nth(8, n, &menu).dice);
        }
    }

    #[test]
    fn orders_are_mixed_and_add_up() {
        let orders: Vec<Order> = (0..5_000).map(|n| Order::nth(1, n, &menu())).collect();
        let share = |is: fn(&Order) -> bool| orders.iter().filter(|order| is(order)).count();
        assert!((50..200).contains(&share(|order| order.customer.starts_with(DECLINED))));
        assert!((150..350).contains(&share(|order| order.repeated != Repeated::No)));
        for order in &orders {
            let price = |line: &Line| if line.sku == "latte" { 450 } else { 490 };
            let total: i64 = order.lines.iter().map(|line| price(line) * line.quantity).sum();
            assert_eq!(order.total_cents, total);
        }
    }
}
