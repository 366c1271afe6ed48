import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { serverBinarySchema } from './binaries/server-binary.ts';
import { LocalShardsError } from './errors.ts';
import { processIdentitySchema } from './servers/process-identity.ts';

const port = z.int().min(1).max(65_535);

const shardStateSchema = z.object({
  name: z.string(),
  port,
  password: z.string(),
  adminPassword: z.string(),
  /** The process last started; it may have ended since. */
  process: processIdentitySchema.optional(),
});

const stackStateSchema = z.object({
  format: z.literal(1),
  binary: serverBinarySchema,
  fast: z.boolean(),
  shards: z.array(shardStateSchema),
  storage: z.object({
    ports: z.object({ blob: port, queue: port, table: port }),
    process: processIdentitySchema.optional(),
  }),
});

/** One shard as the state file keeps it. Mutable: {@link Stack} edits it and writes it back. */
export type ShardState = z.infer<typeof shardStateSchema>;

/** What a data folder holds: enough to reach, stop and start every server of it. */
export type StackState = z.infer<typeof stackStateSchema>;

/** Places inside a data folder. Everything else in it belongs to others and is left alone. */
export function stackPaths(dataDir: string): {
  readonly stateFile: string;
  readonly lockFile: string;
  readonly shardsDir: string;
  readonly storageDir: string;
  shardDir(name: string): string;
} {
  const shardsDir = join(dataDir, 'shards');
  return {
    stateFile: join(dataDir, 'stack.json'),
    lockFile: join(dataDir, 'stack-lock.sqlite'),
    shardsDir,
    storageDir: join(dataDir, 'azurite'),
    shardDir: (name) => join(shardsDir, name),
  };
}

/** The state of a data folder, or `undefined` when there is none. Throws when it cannot be read. */
export function readState(dataDir: string): StackState | undefined {
  const { stateFile } = stackPaths(dataDir);
  if (!existsSync(stateFile)) return undefined;
  try {
    return stackStateSchema.parse(JSON.parse(readFileSync(stateFile, 'utf8')));
  } catch (error) {
    throw new LocalShardsError(
      `${stateFile} is not a state file of this version. Stop its servers by hand and delete the folder, or use another one with --data.`,
      error,
    );
  }
}

/** Replaces the state file in one step. It holds passwords: only its owner may read it. */
export function writeState(dataDir: string, state: StackState): void {
  const { stateFile } = stackPaths(dataDir);
  writePrivateFile(stateFile, `${JSON.stringify(state, null, 2)}\n`);
}

/** Writes a file that only its owner may read, complete or not at all. */
export function writePrivateFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, file);
}

/** A password of 144 random bits that needs no escaping in SQL, JSON or a shell. */
export function generatePassword(): string {
  return randomBytes(18).toString('base64url');
}
