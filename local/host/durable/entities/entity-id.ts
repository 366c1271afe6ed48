/** An entity's name (lower-case) and key. */
export interface EntityId {
  readonly name: string;
  readonly key: string;
}

/** `@name@key`; the name is lower-cased, since entity names ignore case and keys do not. */
export function formatEntityId(id: EntityId): string {
  return `@${id.name.toLowerCase()}@${id.key}`;
}

/** Inverse of {@link formatEntityId}; `null` when the text is not an entity id. */
export function parseEntityId(text: string): EntityId | null {
  const second = text.indexOf('@', 1);
  if (!text.startsWith('@') || second < 2) return null;
  return { name: text.slice(1, second).toLowerCase(), key: text.slice(second + 1) };
}
