/** FNV-1a, 32 bits: offset basis and prime as its authors publish them (draft-eastlake-fnv). */
const OFFSET_BASIS = 0x811c9dc5;
const PRIME = 0x01000193;

/** A number in [0, 1) that looks random and is always the same for one text: jitter that a replay repeats. */
export function shareOf(text: string): number {
  let hash = OFFSET_BASIS;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), PRIME);
  }
  // Texts that differ at the end alone differ in the low bits alone; a step of MurmurHash3's finalizer spreads them.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}
