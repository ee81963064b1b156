//! A page of somebody else, open in a browser that can reach the shop, can do nothing in the name of whoever looks
//! at it. Without asking first (a preflight, which is not answered here), it may only send what a form can:
//! <https://fetch.spec.whatwg.org/#cors-safelisted-request-header>.

use reqwest::{Method, Response};

use crate::shop::{Shop, latte, problem};

const FORMS: [&str; 3] =
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];

fn no_leave_is_given(answer: &Response) {
    let headers = answer.headers();
    assert!(!headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{headers:?}");
    assert!(!headers.contains_key("set-cookie"), "{headers:?}");
}

#[tokio::test]
async fn a_form_of_a_foreign_page_changes_nothing() {
    let shop = Shop::open().await;
    for form in FORMS {
        let request = shop.http.post(shop.url("/orders")).header("origin", "https://evil.example");
        let request = request.header("cookie", "staff=1").header("content-type", form);
        let answer = request.body(latte("c").to_string()).send().await.unwrap();
        no_leave_is_given(&answer);
        problem(answer, 415).await;
    }
    assert_eq!(shop.orders().await, 0);
    assert_eq!(shop.count("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn a_foreign_page_gets_no_leave_to_send_or_read_more() {
    let shop = Shop::open().await;
    let id = shop.place(&latte("c")).await;
    for (path, method) in
        [("/orders".to_owned(), "POST"), ("/orders".to_owned(), "GET"), (format!("/orders/{id}"), "GET")]
    {
        let preflight =
            shop.http.request(Method::OPTIONS, shop.url(&path)).header("origin", "https://evil.example");
        let preflight = preflight.header("access-control-request-method", method);
        let answer =
            preflight.header("access-control-request-headers", "authorization").send().await.unwrap();
        no_leave_is_given(&answer);
        assert_eq!(answer.status(), 405, "OPTIONS {path}");
    }
    let read = shop.http.get(shop.url(&format!("/orders/{id}"))).header("origin", "https://evil.example");
    no_leave_is_given(&read.send().await.unwrap());
    // What a browser adds by itself, cookies and the password of a page, is not a staff token.
    let staff = shop.http.get(shop.url("/orders")).header("cookie", "token=staff-token-of-the-tests");
    problem(staff.send().await.unwrap(), 401).await;
    let staff = shop.http.get(shop.url("/orders")).basic_auth("staff", Some("staff-token-of-the-tests"));
    problem(staff.send().await.unwrap(), 401).await;
}
