import { describe, expect, it } from 'vitest';
import { DatabaseError, isFailure } from '../../../src/database/database-error.ts';
import {
  classifyDriverError,
  failurePolicy,
  KIND_BY_CODE,
  KIND_BY_ERRNO,
} from '../../../src/database/mysql-errors.ts';
import type { FailureKind } from '../../../src/database/mysql-errors.ts';
import { PermanentError } from '../../../src/kernel/errors.ts';

/** Errors as mysql2 throws them, on which both engines were measured (FACTS-mysql 8), and what must come of them. */
const MEASURED: readonly (readonly [
  event: string,
  error: Readonly<Record<string, unknown>>,
  kind: FailureKind,
])[] = [
  ['deadlock', { code: 'ER_LOCK_DEADLOCK', errno: 1213, sqlState: '40001' }, 'contention'],
  ['lock wait', { code: 'ER_LOCK_WAIT_TIMEOUT', errno: 1205 }, 'contention'],
  ['NOWAIT', { code: 'ER_LOCK_NOWAIT', errno: 3572 }, 'contention'],
  ['snapshot conflict', { code: 'ER_CHECKREAD', errno: 1020 }, 'contention'],
  ['fence assertion', { code: 'ER_SUBQUERY_NO_1_ROW', errno: 1242 }, 'assertion'],
  ['killed connection', { code: 'PROTOCOL_CONNECTION_LOST', fatal: true }, 'lost'],
  ['use of a dead connection', { fatal: true }, 'lost'],
  ['write into a closed socket', { code: 'EPIPE', errno: -32, fatal: true }, 'lost'],
  ['refused', { code: 'ECONNREFUSED', errno: -111, fatal: true }, 'unreachable'],
  ['too many connections', { code: 'ER_CON_COUNT_ERROR', errno: 1040, fatal: true }, 'crowded'],
  ['read only', { code: 'ER_OPTION_PREVENTS_STATEMENT', errno: 1290 }, 'read-only'],
  ['KILL QUERY', { code: 'ER_QUERY_INTERRUPTED', errno: 1317 }, 'hindered'],
  ['statement limit, MySQL', { code: 'ER_QUERY_TIMEOUT', errno: 3024 }, 'hindered'],
  ['statement limit, MariaDB', { code: undefined, errno: 1969 }, 'hindered'],
  ['packet too large', { code: 'ER_NET_PACKET_TOO_LARGE', errno: 1153 }, 'too-large'],
  ['access denied', { code: 'ER_ACCESS_DENIED_ERROR', errno: 1045, fatal: true }, 'misconfigured'],
  ['duplicate', { code: 'ER_DUP_ENTRY', errno: 1062, sqlState: '23000' }, 'duplicate'],
  ['syntax error', { code: 'ER_PARSE_ERROR', errno: 1064 }, 'rejected'],
  ['no such table', { code: 'ER_NO_SUCH_TABLE', errno: 1146 }, 'rejected'],
  [
    'bad parameter',
    new TypeError('Bind parameters must not contain undefined') as never,
    'rejected',
  ],
  ['something that is no error', 'text' as never, 'rejected'],
];

/** Retry, count towards the circuit, destroy the connection. */
const POLICIES: Readonly<Record<FailureKind, readonly [boolean, boolean, boolean]>> = {
  contention: [true, false, false],
  hindered: [true, false, false],
  unreachable: [true, true, true],
  crowded: [true, true, true],
  lost: [true, true, true],
  timeout: [true, true, true],
  deadline: [true, false, true],
  'read-only': [true, false, true],
  misconfigured: [false, false, false],
  duplicate: [false, false, false],
  assertion: [false, false, false],
  'too-large': [false, false, true],
  rejected: [false, false, false],
};
const KINDS = Object.keys(POLICIES) as FailureKind[];

describe('classifyDriverError', () => {
  it.each(MEASURED)('%s', (_, error, kind) => {
    expect(classifyDriverError(error, 'statement')).toBe(kind);
  });

  it.each([...KIND_BY_ERRNO])('number %i is %s, whatever its name', (errno, kind) => {
    expect(classifyDriverError({ errno }, 'statement')).toBe(kind);
    expect(classifyDriverError({ errno, code: 'ECONNREFUSED' }, 'statement')).toBe(kind);
  });

  it.each([...KIND_BY_CODE])('code %s is %s', (code, kind) => {
    expect(classifyDriverError({ code, errno: -1, fatal: true }, 'statement')).toBe(kind);
  });

  it('does not say lost before anything was sent', () => {
    const all = [
      ...[...KIND_BY_ERRNO.keys()].map((errno) => ({ errno })),
      ...[...KIND_BY_CODE.keys()].map((code) => ({ code })),
      { fatal: true },
    ];
    for (const error of all) {
      const later = classifyDriverError(error, 'statement');
      expect(classifyDriverError(error, 'connect')).toBe(later === 'lost' ? 'unreachable' : later);
    }
  });
});

describe('failurePolicy', () => {
  it.each(Object.entries(POLICIES))('%s', (kind, [retryable, opensCircuit, destroysConnection]) => {
    expect(failurePolicy(kind as FailureKind)).toEqual({
      retryable,
      opensCircuit,
      destroysConnection,
    });
  });
});

describe('DatabaseError', () => {
  it.each(KINDS)('%s: retry flag, code and message fit', (kind) => {
    const error = new DatabaseError(kind);
    const [retryable] = POLICIES[kind];
    const permanent = kind === 'misconfigured' ? 'configuration-invalid' : 'internal';
    expect(error).toMatchObject({ retryable, failure: kind, details: { failure: kind } });
    expect(error.code).toBe(retryable ? 'shard-unavailable' : permanent);
    expect(error.message.length).toBeGreaterThan(20);
  });

  it('keeps the cause and its numbers, and nothing of its text', () => {
    const cause = Object.assign(new Error('Duplicate entry for secret'), {
      code: 'ER_DUP_ENTRY',
      errno: 1062,
      sqlState: '23000',
    });
    const error = DatabaseError.from(cause, 'statement');
    expect(error).toMatchObject({
      cause,
      details: { errno: 1062, sqlCode: 'ER_DUP_ENTRY', sqlState: '23000' },
    });
    expect(error.message).not.toContain('secret');
    expect(isFailure(error, 'duplicate')).toBe(true);
    expect(isFailure(error, 'lost')).toBe(false);
    expect(isFailure(cause, 'duplicate')).toBe(false);
  });

  it('passes errors of ours on', () => {
    const mine = new PermanentError('user-not-found', 'mine');
    expect(DatabaseError.from(mine, 'statement')).toBe(mine);
  });
});
