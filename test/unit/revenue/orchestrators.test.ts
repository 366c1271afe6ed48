import { describe, expect, test } from 'vitest';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import {
  finishReport,
  laneOrchestration,
  planReport,
  reportOrchestration,
  sumChunk,
} from '../../../src/revenue/contracts.ts';
import { lane, report } from '../../../src/revenue/orchestrators.ts';
import { failure, success } from '../../../src/durable/envelope.ts';
import { driveOrchestrator } from '../../support/drive-orchestrator.ts';
import { createRandom } from '../../support/random.ts';

interface Scene {
  readonly shards: readonly { readonly shard: number; readonly chunks: number }[];
  readonly maxShardsAtOnce: number;
  /** Ends a chunk's try; counts tries from 1. */
  readonly onChunk?: (shard: number, chunk: number, attempt: number) => void;
}

async function drive(scene: Scene) {
  const random = createRandom();
  const chunks = new Map<string, number>();
  const finished: unknown[] = [];
  const result = await driveOrchestrator(
    reportOrchestration.name,
    { reportId: 'r' },
    {
      orchestrations: [report, lane],
      random: () => random.next(),
      redeliver: 0.2,
      activities: {
        [planReport.name]: () =>
          Promise.resolve(
            success({ shards: scene.shards, maxShardsAtOnce: scene.maxShardsAtOnce }),
          ),
        [sumChunk.name]: async (input) => {
          const { shard, chunk } = input as { shard: number; chunk: number };
          const attempt = (chunks.get(`${shard}/${chunk}`) ?? 0) + 1;
          chunks.set(`${shard}/${chunk}`, attempt);
          try {
            scene.onChunk?.(shard, chunk, attempt);
          } catch (error) {
            if (error instanceof PermanentError) return failure(error);
            throw error;
          }
          return success({ groups: 1 });
        },
        [finishReport.name]: (input) => {
          finished.push(input);
          return Promise.resolve(success({ groups: 3 }));
        },
      },
    },
  );
  return { result, chunks, finished, seed: random.seed };
}

describe('a report', () => {
  test('sums every chunk of every shard, in lanes, and then merges', async () => {
    const { result, chunks, finished } = await drive({
      shards: [0, 1, 2, 3, 4].map((shard) => ({ shard, chunks: 6 })),
      maxShardsAtOnce: 2,
    });
    expect(result.state).toBe('completed');
    expect(result.output).toEqual(success({ groups: 3 }));
    expect(chunks.size).toBe(30);
    expect(finished.at(-1)).toEqual({ reportId: 'r' });
    expect(result.statuses.get('root')).toEqual({ chunks: 30, lanes: 2 });
    expect(result.statuses.get('r:0')).toEqual({ chunksDone: 18 });
    expect(result.statuses.get('r:1')).toEqual({ chunksDone: 12 });
    // One action per chunk, one per lane, the plan and the merge; retries of redelivered work cost none.
    expect(result.actions).toBe(34);
  });

  test('of very many chunks begins new histories and loses none', async () => {
    const { result, chunks } = await drive({
      shards: [{ shard: 0, chunks: 210 }],
      maxShardsAtOnce: 8,
    });
    expect(result.state).toBe('completed');
    expect(chunks.size).toBe(210);
    expect(result.executions).toBe(1 + 3);
    expect(result.statuses.get('r:0')).toEqual({ chunksDone: 210 });
  });

  test('tries a chunk again whose shard was away', async () => {
    const { result, finished } = await drive({
      shards: [{ shard: 0, chunks: 3 }],
      maxShardsAtOnce: 8,
      onChunk: (_shard, chunk, attempt) => {
        if (chunk === 1 && attempt < 6) throw RetryableError.shardUnavailable(0);
      },
    });
    expect(result.state).toBe('completed');
    expect(finished.at(-1)).toEqual({ reportId: 'r' });
  });

  test('that cannot be summed ends with the reason stored, after all lanes have stopped', async () => {
    const { result, chunks, finished } = await drive({
      shards: [
        { shard: 0, chunks: 3 },
        { shard: 1, chunks: 3 },
      ],
      maxShardsAtOnce: 8,
      onChunk: (shard) => {
        if (shard === 0) throw new PermanentError('validation-failed', 'too many groups');
      },
    });
    expect(result.state).toBe('completed');
    expect(finished.at(-1)).toEqual({
      reportId: 'r',
      failure: { code: 'validation-failed', message: 'too many groups' },
    });
    expect([...chunks.keys()].filter((chunk) => chunk.startsWith('1/'))).toHaveLength(3);
  });

  test('whose shard stays away ends too, and tells nothing internal', async () => {
    const { result, finished } = await drive({
      shards: [{ shard: 0, chunks: 1 }],
      maxShardsAtOnce: 8,
      onChunk: () => {
        throw new Error('connect ECONNREFUSED db-7.internal:3306');
      },
    });
    expect(result.state).toBe('completed');
    expect(JSON.stringify(finished.at(-1))).toContain('"code":"internal"');
    expect(JSON.stringify(finished.at(-1))).not.toContain('db-7');
  });
});

test('the lane’s contract takes what the report gives it', () => {
  const input = { reportId: 'r', shards: [{ shard: 0, chunks: 1 }], chunksDone: 0 };
  expect(laneOrchestration.input.parse(input)).toEqual(input);
});
