//! Who the controller is: in a table of our own, so that it goes where the configurations go.

use mgmt_api::ControllerId;

use super::{StoreError, UnreadableRow, sqlite::Store};

const TABLE: &str = "mgmt_identity";

impl Store {
    /// Makes an identity, unless there is one.
    pub(super) fn make_identity(&self) -> rusqlite::Result<()> {
        if matches!(self.identity(), Ok(None)) {
            let transaction = self.connection.unchecked_transaction()?;
            transaction.execute_batch(
                "create table if not exists mgmt_identity(identity text not null, generation integer not null);\
                 insert into mgmt_identity select lower(hex(randomblob(8))), 0 where not exists (select 1 from mgmt_identity)",
            )?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// The identity, if there is one, or why it cannot be read.
    pub(super) fn identity(&self) -> Result<Option<Result<ControllerId, UnreadableRow>>, StoreError> {
        let query = "select identity, generation from mgmt_identity limit 1";
        let rows: Vec<Option<ControllerId>> = self.read_own(TABLE, query, |row| {
            let (identity, generation) = (row.get::<_, String>(0), row.get::<_, i64>(1));
            let generation = generation
                .ok()
                .and_then(|generation| u64::try_from(generation).ok());
            let both = identity.ok().zip(generation);
            Ok(both.and_then(|(identity, generation)| ControllerId::new(&identity, generation)))
        })?;
        let unreadable = || UnreadableRow {
            slot: None,
            key: TABLE.into(),
            reason: "no identity and generation of a controller".to_owned(),
        };
        Ok(rows.into_iter().next().map(|row| row.ok_or_else(unreadable)))
    }

    /// Makes it known that the store was restored, at this time in seconds since 1970, in place of that of another controller. Returns who the
    /// controller is from now on; none if that cannot be read.
    pub(crate) fn raise_generation(
        &self,
        before: Option<&ControllerId>,
        now: u64,
    ) -> Result<Option<ControllerId>, StoreError> {
        let failed = |source| self.error("write", source);
        self.make_identity().map_err(failed)?;
        let Some(Ok(mut identity)) = self.identity()? else {
            return Ok(None);
        };
        let same = before.filter(|before| before.succeeds(&identity));
        identity.generation = same.unwrap_or(&identity).next_generation(now);
        let generation = i64::try_from(identity.generation).unwrap_or(i64::MAX);
        let update = "update mgmt_identity set generation = ?1";
        self.connection.execute(update, [generation]).map_err(failed)?;
        Ok(Some(identity))
    }
}
