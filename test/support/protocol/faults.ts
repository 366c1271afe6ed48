/** Deliberate mistakes in the protocol: each must be found by the exploration, or the exploration sees nothing. */
export type Fault =
  /** The target becomes the owner before the source has given the bucket away. */
  | 'target-first'
  /** GIVE_BUCKET_AWAY without `AND token = ?`. */
  | 'decide-without-token'
  /** GIVE_BUCKET_AWAY without `state = 'fenced'` and the token: whatever became of the fence. */
  | 'decide-unfenced'
  /** The source is given away without looking at the target's rows again under the fence. */
  | 'no-verification'
  /** The move is not claimed again after the fence: statements adrift still hold a valid token. */
  | 'no-renewal'
  /** `assertReceiving` without the token. */
  | 'write-without-token'
  /** Writes to the target's rows without `assertReceiving`. */
  | 'write-unasserted'
  /** All tries to set a fence carry the same token: one that is late sets it again after it was lifted. */
  | 'one-fence-token'
  /** All tries to claim a move carry the same token: one that is late makes writes of before valid again. */
  | 'one-claim-token'
  /** FENCE_BUCKET does not wait for the shared locks of writers. */
  | 'fence-ignores-writers'
  /** Writers do without `state = 'owned'`: a fence does not stop them. */
  | 'writers-ignore-fence'
  /** LIFT_EXPIRED_FENCE without `state = 'fenced'`. */
  | 'lift-decided'
  /** TAKE_BUCKET_OVER without the epoch, by callers who look at the source's `moved_to` only. */
  | 'heal-without-epoch'
  /** Callers make the target the owner without looking at the source. */
  | 'heal-unseen'
  /** The cancellation does not lift the fence of the source. */
  | 'cancel-without-lift'
  /** The cancellation deletes whatever the source's row says after the lift. */
  | 'cancel-decided'
  /** An old copy is deleted without looking for an owner of a later epoch. */
  | 'purge-unverified'
  /** Chunks of a purge without `assertGone`. */
  | 'purge-unasserted'
  /** `assertGone` without the epoch. */
  | 'purge-without-epoch'
  /** The standing of a move is told from one look at each row, however much happened between. */
  | 'look-once'
  /** LIFT_EXPIRED_FENCE without the clock: anybody lifts any fence. Costs time, and must cost nothing else. */
  | 'lift-without-clock';
