import { hash } from 'node:crypto';
import { createPool, type Pool } from 'mysql2/promise';
import {
  DELETE_TRACE,
  INSERT_RECEIVED,
  SET_STATE,
  WRITE_TRACE,
} from '../../src/orders/transfer-statements.ts';
import { ORDER_STATE } from '../../src/orders/statements.ts';
import { routeKey } from '../../src/sharding/router.ts';
import { SETTLE_RESERVATION } from '../../src/users/directory-statements.ts';
import { SQL_AT } from '../orders.ts';
import { CREATE_USER, RESERVE_EMAIL } from './saga-statements.ts';
import type { HostWorld } from './world.ts';

type Value = string | number;
type Statement = readonly [text: string, values: readonly Value[]];

export interface Registration {
  readonly userId: string;
  readonly email: string;
}

export interface TransferOf {
  readonly orderId: string;
  readonly amountCents: number;
  readonly fromUserId: string;
  readonly toUserId: string;
}

/**
 * What sagas change, one local transaction after the other through the driver: the rows of the steps, without fence,
 * ledger, journal, and without anybody who would finish it.
 */
export interface BareSagas {
  registerUser(registration: Registration): Promise<void>;
  transferOrder(transfer: TransferOf): Promise<void>;
  close(): Promise<unknown>;
}

export function createBareSagas(world: HostWorld, connections: number): BareSagas {
  const pools = world.shards.map(({ host, port, user, password, database }) =>
    createPool({ host, port, user, password, database, connectionLimit: connections }),
  );
  let count = 0;
  const on = (key: string) => {
    const { bucket, shard } = routeKey(world.map, key);
    return { bucket, pool: pools[shard] as Pool };
  };
  return {
    registerUser: async ({ userId, email }) => {
      const sagaId = `bare-${++count}`;
      const emailKey = hash('sha256', email, 'hex');
      const [user, directory] = [on(userId), on(email)];
      const settled = ['confirmed', SQL_AT, directory.bucket, emailKey, sagaId, userId];
      await transaction(directory.pool, [
        [RESERVE_EMAIL, [directory.bucket, emailKey, email, userId, sagaId]],
      ]);
      await transaction(user.pool, [[CREATE_USER, [user.bucket, userId, email, emailKey]]]);
      await transaction(directory.pool, [[SETTLE_RESERVATION, settled]]);
    },
    transferOrder: async ({ orderId, amountCents, fromUserId, toUserId }) => {
      const sagaId = `bare-${++count}`;
      const [source, target] = [on(fromUserId), on(toUserId)];
      const { plain, locked, pending, moved } = ORDER_STATE;
      const trace = (bucket: number, user: string, peer: string, state: number): Statement => [
        WRITE_TRACE,
        [bucket, orderId, user, peer, state, sagaId, SQL_AT],
      ];
      const held = (state: number): Statement[] => [
        [SET_STATE, [state, source.bucket, orderId]],
        trace(source.bucket, fromUserId, toUserId, state),
      ];
      const received = [target.bucket, orderId, toUserId, amountCents, SQL_AT, pending];
      await transaction(source.pool, held(locked));
      await transaction(target.pool, [
        [INSERT_RECEIVED, received],
        trace(target.bucket, toUserId, fromUserId, pending),
      ]);
      await transaction(source.pool, held(moved));
      await transaction(target.pool, [
        [SET_STATE, [plain, target.bucket, orderId]],
        [DELETE_TRACE, [target.bucket, orderId]],
      ]);
    },
    close: () => Promise.all(pools.map((pool) => pool.end())),
  };
}

/** Each statement must change a row, or the bench measures nothing. A single one commits by itself. */
async function transaction(pool: Pool, statements: readonly Statement[]): Promise<void> {
  const connection = await pool.getConnection();
  try {
    if (statements.length > 1) await connection.beginTransaction();
    for (const [text, values] of statements) {
      const [result] = await connection.execute(text, [...values]);
      if (!('affectedRows' in result) || result.affectedRows === 0) {
        throw new Error(`Nothing was changed by: ${text}`);
      }
    }
    if (statements.length > 1) await connection.commit();
  } finally {
    connection.release();
  }
}
