//! Lists of series are found by the first bits of the ids in them: a key of the index leads to some lists that hold a
//! series, and to a few others. How many bits is said in the row of each list.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use crate::error::{Fault, damaged};

/// Keys that lead to all lists of some series.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ListKeys {
    /// Where the keys of each number of bits begin and end, counted from 1, both included.
    first: Vec<i32>,
    last: Vec<i32>,
    keys: Vec<i32>,
}

impl ListKeys {
    /// For the lists that this connection sees, or a later statement of it. Turns `enable_seqscan` off in a transaction.
    pub(crate) async fn read(connection: &mut PgConnection, ids: &[i64]) -> Result<Self, Fault> {
        let row = sqlx::query(include_str!("sql/list_bits.sql")).fetch_one(connection).await?;
        let mut all = Self::default();
        for bits in row.try_get::<Vec<i16>, _>(0)? {
            all.add(ids, u32::try_from(bits).ok().filter(|bits| (1..31).contains(bits)).ok_or_else(unknown)?);
        }
        Ok(all)
    }

    /// A key is a one and after it the first bits of an id, as `metricsd_list_keys` has it.
    fn add(&mut self, ids: &[i64], bits: u32) {
        let key = |id: &i64| ((1 << bits) | (id.cast_unsigned() >> (64 - bits))) as i32;
        let mut keys: Vec<i32> = ids.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        self.first.push(self.keys.len() as i32 + 1);
        self.keys.extend(keys);
        self.last.push(self.keys.len() as i32);
    }

    /// As the first three parameters.
    pub(crate) fn bind<'q>(
        self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query.bind(self.first).bind(self.last).bind(self.keys)
    }
}

fn unknown() -> Fault {
    damaged("a list of series is found by an unknown number of bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_number_of_bits_stand_together_and_none_twice() {
        let mut all = ListKeys::default();
        all.add(&[-1, 0, 1, i64::MIN], 2);
        all.add(&[-1, 1 << 61], 3);
        assert_eq!(all.keys, [0b100, 0b110, 0b111, 0b1001, 0b1111]);
        assert_eq!((all.first, all.last), (vec![1, 4], vec![3, 5]));
    }
}
