//! What the shop sells, and for how much. Prices are ours: a client may name a price, but only the right one.

use events::Cents;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MenuItem {
    pub sku: &'static str,
    pub name: &'static str,
    /// Of one piece.
    pub price: Cents,
}

const fn item(sku: &'static str, name: &'static str, cents: i64) -> MenuItem {
    MenuItem { sku, name, price: Cents(cents) }
}

pub const MENU: [MenuItem; 10] = [
    item("espresso", "Espresso", 280),
    item("americano", "Americano", 320),
    item("latte", "Latte", 450),
    item("cappuccino", "Cappuccino", 420),
    item("flat-white", "Flat White", 440),
    item("mocha", "Mocha", 490),
    item("cold-brew", "Cold Brew", 460),
    item("chai-latte", "Chai Latte", 470),
    item("croissant", "Croissant", 310),
    item("blueberry-muffin", "Blueberry Muffin", 340),
];

pub fn by_name(name: &str) -> Option<&'static MenuItem> {
    MENU.iter().find(|item| item.name.eq_ignore_ascii_case(name))
}

pub fn by_sku(sku: &str) -> Option<&'static MenuItem> {
    MENU.iter().find(|item| item.sku == sku)
}
