/** What a chapter did: requests sent, and how many of them made something new. */
export interface Tally {
  readonly sent: number;
  readonly created: number;
}
