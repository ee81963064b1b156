//! Where the next claim begins. An index from which much was deleted is walked over until Postgres has swept it, and it is not
//! swept while anybody reads an old state of the database, such as a backup. So most claims begin near the rows they want.
//!
//! A row may be committed after others with a higher id were published. If that took it longer than two looks back, it is seen
//! by the next.

#[derive(Default)]
pub struct Place {
    /// From the oldest row there is, whatever was published.
    pub looks_back: bool,
    /// Else after this one.
    after: i64,
    /// How far was published at the last look back.
    then: i64,
    /// How far is published now.
    now: i64,
}

impl Place {
    pub fn after(&self) -> i64 {
        if self.looks_back { 0 } else { self.after }
    }

    pub fn published(&mut self, looked_back: bool, last: i64) {
        self.now = self.now.max(last);
        if looked_back {
            (self.after, self.then) = (self.then, self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_begin_where_the_relay_was_at_the_last_look_back_but_one() {
        let mut place = Place::default();
        let mut round = |looks_back: bool, last: i64| {
            place.looks_back = looks_back;
            let after = place.after();
            place.looks_back = false;
            place.published(looks_back, last);
            after
        };
        assert_eq!([round(true, 10), round(false, 20)], [0, 0]);
        assert_eq!([round(true, 30), round(false, 40), round(false, 35)], [0, 10, 10]);
        assert_eq!([round(true, 40), round(false, 50)], [0, 30]);
    }
}
