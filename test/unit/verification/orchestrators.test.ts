import { describe, expect, test } from 'vitest';
import { failure, success } from '../../../src/durable/envelope.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { planChunks } from '../../../src/verification/chunks.ts';
import {
  checkPiece,
  findStrays,
  finishVerification,
  laneOrchestration,
  lookAgain,
  planVerification,
  verificationOrchestration,
} from '../../../src/verification/contracts.ts';
import type { Chunk } from '../../../src/verification/model.ts';
import { lane, verification } from '../../../src/verification/orchestrators.ts';
import { driveOrchestrator } from '../../support/drive-orchestrator.ts';
import { createRandom } from '../../support/random.ts';

interface Scene {
  readonly chunks?: readonly Chunk[];
  readonly maxShardsAtOnce?: number;
  readonly piecesPerChunk?: number;
  readonly suspectsPerPiece?: number;
  readonly planSuspects?: number;
  /** Chunks of buckets that moved, by round from 1. */
  readonly strays?: readonly (readonly Chunk[])[];
  /** Suspects still wrong after each look. */
  readonly left?: readonly number[];
  readonly onPiece?: (chunk: Chunk, attempt: number) => void;
}

async function drive(scene: Scene) {
  const random = createRandom();
  const pieces = new Map<string, number>();
  const attempts = new Map<string, number>();
  const looks: number[] = [];
  const finished: unknown[] = [];
  const result = await driveOrchestrator(
    verificationOrchestration.name,
    { verificationId: 'v' },
    {
      orchestrations: [verification, lane],
      random: () => random.next(),
      redeliver: 0.2,
      activities: {
        [planVerification.name]: () =>
          Promise.resolve(
            success({
              chunks: scene.chunks ?? planChunks([0, 1, 2], 512),
              suspects: scene.planSuspects ?? 0,
              maxShardsAtOnce: scene.maxShardsAtOnce ?? 8,
              graceMs: 3_000,
            }),
          ),
        [checkPiece.name]: async (input) => {
          const { chunk, cursor } = checkPiece.input.parse(input);
          const piece = cursor?.piece ?? 0;
          const name = `${chunk.round}/${chunk.shard}/${chunk.from}/${piece}`;
          attempts.set(name, (attempts.get(name) ?? 0) + 1);
          try {
            scene.onPiece?.(chunk, attempts.get(name) ?? 0);
          } catch (error) {
            if (error instanceof PermanentError) return failure(error);
            throw error;
          }
          pieces.set(name, (pieces.get(name) ?? 0) + 1);
          const isLast = piece + 1 >= (scene.piecesPerChunk ?? 1);
          const next = isLast ? null : { piece: piece + 1, pass: 0, after: [1, 'a'] };
          return success({ next, rows: 10, suspects: scene.suspectsPerPiece ?? 0 });
        },
        [findStrays.name]: (input) => {
          const { round } = findStrays.input.parse(input);
          return Promise.resolve(success({ chunks: scene.strays?.[round - 1] ?? [] }));
        },
        [lookAgain.name]: (input) => {
          const { look } = lookAgain.input.parse(input);
          looks.push(look);
          return Promise.resolve(success({ left: scene.left?.[look - 1] ?? 0, more: false }));
        },
        [finishVerification.name]: (input) => {
          finished.push(input);
          return Promise.resolve(success({ ok: true }));
        },
      },
    },
  );
  return { result, pieces, looks: [...new Set(looks)], finished };
}

describe('a verification', () => {
  test('checks every chunk of every shard in lanes, looks at nothing twice without need', async () => {
    const { result, pieces, looks, finished } = await drive({ maxShardsAtOnce: 2 });
    expect(result.state).toBe('completed');
    expect(result.output).toEqual(success({ ok: true }));
    expect(pieces.size).toBe(6);
    expect(looks).toEqual([]);
    expect(finished.at(-1)).toEqual({ verificationId: 'v' });
    expect(result.statuses.get('root')).toEqual({ chunks: 6, lanes: 2 });
    expect(result.statuses.get('v:0:0')).toEqual({ chunksDone: 4, rows: 40 });
    // The plan, two lanes, six chunks, the search for strays, the end.
    expect(result.actions).toBe(11);
  });

  test('of very many pieces begins new histories and loses none', async () => {
    const { result, pieces } = await drive({ chunks: planChunks([0], 1024), piecesPerChunk: 210 });
    expect(pieces.size).toBe(210);
    expect(result.executions).toBe(1 + 3);
    expect(result.statuses.get('v:0:0')).toEqual({ chunksDone: 1, rows: 2_100 });
  });

  test('looks again at what looked wrong, and once more only at what still does', async () => {
    expect((await drive({ suspectsPerPiece: 1 })).looks).toEqual([1]);
    expect((await drive({ suspectsPerPiece: 1, left: [1] })).looks).toEqual([1, 2]);
    expect((await drive({ chunks: [], planSuspects: 1, left: [1, 1] })).looks).toEqual([1, 2]);
  });

  test('follows buckets that moved, and gives up when they do not stop', async () => {
    const stray = (round: number): Chunk[] => [{ round, shard: 1, from: 7, to: 7 }];
    const settled = await drive({ strays: [stray(1), stray(2)] });
    expect([...settled.pieces.keys()].filter((name) => !name.startsWith('0/'))).toEqual([
      '1/1/7/0',
      '2/1/7/0',
    ]);
    expect(settled.finished.at(-1)).toEqual({ verificationId: 'v' });
    const restless = await drive({ strays: [1, 2, 3, 4, 5].map(stray) });
    expect(restless.finished.at(-1)).toMatchObject({ failure: { code: 'conflict' } });
  });

  test('tries a piece again whose shard was away for a moment', async () => {
    const { finished } = await drive({
      onPiece: ({ shard }, attempt) => {
        if (shard === 1 && attempt < 4) throw RetryableError.shardUnavailable(1);
      },
    });
    expect(finished.at(-1)).toEqual({ verificationId: 'v' });
  });

  test('whose shard stays away ends with a failure that tells nothing internal', async () => {
    const { result, finished, pieces } = await drive({
      onPiece: ({ shard }) => {
        if (shard === 1) throw new Error('connect ECONNREFUSED db-7.internal:3306');
      },
    });
    expect(result.state).toBe('completed');
    expect(JSON.stringify(finished.at(-1))).toContain('"code":"internal"');
    expect(JSON.stringify(finished.at(-1))).not.toContain('db-7');
    // The other shards' lanes went to their end.
    expect([...pieces.keys()].filter((name) => name.startsWith('0/2/'))).toHaveLength(2);
  });
});

test('the lane’s contract takes the longest plan', () => {
  const chunks = planChunks(
    Array.from({ length: 32 }, (_, shard) => shard),
    32,
  );
  const input = { verificationId: 'v', chunks, chunksDone: 0, cursor: null, rows: 0, suspects: 0 };
  expect(laneOrchestration.input.parse(input)).toEqual(input);
  expect(JSON.stringify(input).length).toBeLessThan(60_000);
});
