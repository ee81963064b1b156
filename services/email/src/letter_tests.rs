//! What a customer reads.

use super::*;

fn mail(says: Says) -> Mail {
    Mail {
        order_id: "order-123".to_owned().try_into().expect("valid"),
        customer_id: "cust-456".to_owned().try_into().expect("valid"),
        email: None,
        says,
    }
}

fn item(name: &str, cents: i64, quantity: u32) -> Item {
    Item { name: name.to_owned(), sku: None, price: Cents(cents), quantity }
}

fn raw(mail: &Mail) -> String {
    let from = "The Coffee Shop <orders@coffee-shop.example>".parse().expect("valid");
    let letter = Letter::compose(mail, &from).expect("can be composed");
    String::from_utf8(letter.message.formatted()).expect("UTF-8")
}

#[test]
fn the_receipt_is_readable_as_plain_text() {
    let items = vec![item("Latte", 450, 2), item("Blueberry Muffin", 340, 12)];
    let (text, html) = render(&mail(Says::Received { items, total: Cents(4980) })).expect("renders");
    let receipt = "
  2 x Latte                             9.00
 12 x Blueberry Muffin                 40.80
--------------------------------------------
      Total                            49.80
";
    assert!(text.contains(receipt), "{text}");
    assert!(html.contains("12 x Blueberry Muffin") && html.contains("49.80"), "{html}");
}

#[test]
fn a_mail_has_both_bodies_and_its_stable_id() {
    let raw = raw(&mail(Says::Ready));
    for part in [
        "Message-ID: <ready.order-123@coffee-shop.example>\r\n",
        "To: cust-456@example.com\r\n",
        "Subject: Your order is ready: order-123\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "multipart/alternative",
        "text/plain",
        "text/html",
    ] {
        assert!(raw.contains(part), "{part:?} is missing in\n{raw}");
    }
}

/// A line that is too long for it has the whole body encoded, which is a third of the work of a mail.
#[test]
fn the_usual_mail_goes_as_it_is_written() {
    let items = vec![item("Blueberry Muffin", 100_000, 100)];
    let reason = "the card was declined by the bank that issued it".to_owned();
    let received = Says::Received { items, total: Cents(10_000_000) };
    for says in [received, Says::Cancelled { reason }, Says::Ready] {
        let mut order = mail(says);
        let id = "order-0199e5a2b3c-5f0c7f0e2b9d4c3aa1b2c3d4e5f60718".to_owned();
        order.order_id = id.try_into().expect("valid");
        let raw = raw(&order);
        assert_eq!(raw.matches("Content-Transfer-Encoding: 7bit").count(), 2, "{raw}");
    }
}

#[test]
fn nothing_a_customer_names_becomes_markup_or_a_header() {
    let items = vec![item("<script>alert(1)</script>", 100, 1)];
    let mut order = mail(Says::Received { items, total: Cents(100) });
    order.order_id = "x: y é Bcc: z@example.com".to_owned().try_into().expect("valid");
    let (_, html) = render(&order).expect("renders");
    assert!(!html.contains("<script>") && html.contains("script"), "{html}");
    let raw = raw(&order);
    let headers = raw.split("\r\n\r\n").next().expect("a head");
    assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
    assert!(headers.is_ascii(), "{headers}");
}

proptest::proptest! {
    #[test]
    fn no_event_can_make_it_panic(event in testing::arbitrary::event(), body in testing::arbitrary::body()) {
        let from = "The Coffee Shop <orders@coffee-shop.example>".parse().expect("valid");
        if let Some(mail) = Mail::about(&event) {
            let _ = Letter::compose(&mail, &from);
        }
        let _ = <crate::task::Task as messaging::Message>::decode("emails.ready", None, &body);
    }
}
