import { expect } from 'vitest';
import { unwrap } from '../../src/durable/envelope.ts';
import type { StepAnswer, StepContract, StepVerb } from '../../src/durable/saga/step.ts';
import type { ShardId, UserId } from '../../src/kernel/ids.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import type { OrphanReport, SagaLife } from '../../src/sagas/modules.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import {
  confirmEmail,
  createUser,
  releaseOldEmail,
  reserveEmail,
  updateUser,
} from '../../src/users/contracts.ts';
import { parseEmail, type Email } from '../../src/users/email.ts';
import { usersDurable, usersSettlers } from '../../src/users/sagas.ts';
import { silentLogger } from './drive-orchestrator.ts';
import { emailsOnShard, userIdsOnShard, type SliceApp } from './slice-app.ts';

export const CREATED_AT = '2026-01-01T00:00:00.000Z' as Timestamp;

/** A user and three emails of its own, each on another shard; the user is on that of the first. */
export interface Party {
  readonly userId: UserId;
  readonly emails: readonly [Email, Email, Email];
}

/** One change-email saga, a step at a time; each tells the kind of its answer, and the code of a failure. */
export interface Changing {
  readonly reserve: () => Promise<string>;
  readonly undoReserve: () => Promise<string>;
  readonly update: () => Promise<string>;
  readonly sealUpdate: () => Promise<string>;
  readonly confirm: () => Promise<string>;
  readonly release: () => Promise<string>;
}

/** Kind of the answer, and the code of a refusal or failure. */
export function told(answer: StepAnswer): string {
  const error = 'error' in answer ? ` ${answer.error.code}` : '';
  return answer.kind + error;
}

/** Single deliveries of the users' steps, as the runner would make them. */
export class UserSteps {
  readonly #app: SliceApp;
  #parties = 0;

  constructor(app: SliceApp) {
    this.#app = app;
  }

  async deliver<Input, Output>(
    contract: StepContract<Input, Output>,
    sagaId: string,
    verb: StepVerb,
    input: NoInfer<Input>,
  ): Promise<StepAnswer> {
    const activity = usersDurable.activities.find((one) => one.contract === contract.activity);
    if (activity === undefined) throw new Error(`no code for ${contract.name}`);
    const step = contract.name.replace('users-', '');
    const run = { instanceId: sagaId, logger: silentLogger };
    const payload = JSON.parse(JSON.stringify({ sagaId, step, verb, input })) as unknown;
    return unwrap(contract.activity, await activity.bind(this.#app.services)(payload, run));
  }

  newParty(): Party {
    this.#parties += 1;
    const userId = userIdsOnShard(0, this.#parties, 80_000)[this.#parties - 1] as UserId;
    const emails = [0, 1, 2].map((shard) => {
      const [text] = emailsOnShard(shard, 1, `party${this.#parties}on${shard}x`);
      return parseEmail(text) as Email;
    });
    return { userId, emails: emails as unknown as Party['emails'] };
  }

  /** A user registered with the first email, step by step. */
  async registered(): Promise<Party> {
    const party = this.newParty();
    const { userId, emails } = party;
    const saga = `reg-${userId}`;
    const [first] = emails;
    const email = first.normalized;
    await this.deliver(reserveEmail, saga, 'run', { userId, email, purpose: 'register' });
    await this.deliver(createUser, saga, 'run', { userId, email: first, createdAt: CREATED_AT });
    await this.deliver(confirmEmail, saga, 'run', { userId, email });
    await this.expectSound(party);
    return party;
  }

  changing(sagaId: string, { userId }: Pick<Party, 'userId'>, email: Email): Changing {
    let held = false;
    let old: Email['normalized'] | null = null;
    const reserved = { userId, email: email.normalized, purpose: 'change' as const };
    const confirmed = { userId, email: email.normalized };
    return {
      reserve: async () => {
        const answer = await this.deliver(reserveEmail, sagaId, 'run', reserved);
        if (answer.kind === 'done') held = (answer.value as { held: boolean }).held;
        return told(answer) + (held ? ' held' : '');
      },
      undoReserve: async () => told(await this.deliver(reserveEmail, sagaId, 'undo', reserved)),
      update: async () => {
        const answer = await this.deliver(updateUser, sagaId, 'run', { userId, email, held });
        if (answer.kind === 'done') old = (answer.value as { old: typeof old }).old;
        return told(answer);
      },
      sealUpdate: async () => {
        const answer = await this.deliver(updateUser, sagaId, 'seal', { userId, email, held });
        if (answer.kind === 'done') old = (answer.value as { old: typeof old }).old;
        return told(answer);
      },
      confirm: async () => told(await this.deliver(confirmEmail, sagaId, 'run', confirmed)),
      release: async () =>
        told(await this.deliver(releaseOldEmail, sagaId, 'run', { userId, old })),
    };
  }

  /** The settler's run over the shard of an email. */
  async settle(
    email: Email,
    lifeOf: (sagaId: string) => SagaLife = () => 'unknown',
  ): Promise<OrphanReport> {
    const [settler] = usersSettlers;
    if (settler === undefined) throw new Error('there is no settler');
    return await settler.settle(this.#app.services, {
      shard: (bucketOf(email.normalized) % 3) as ShardId,
      olderThanMs: Date.now() + 1_000,
      limit: 200,
      lifeOf: (sagaId) => Promise.resolve(lifeOf(sagaId)),
    });
  }

  async stateOf(email: Email): Promise<string> {
    return (await this.#row(email))?.state ?? 'free';
  }

  async statesOf({ emails }: Party): Promise<readonly string[]> {
    return await Promise.all(emails.map((email) => this.stateOf(email)));
  }

  async emailOf({ userId }: Pick<Party, 'userId'>): Promise<string | undefined> {
    const reply = await this.#app.call('users-get', { params: { userId } });
    return reply.json['email'] as string | undefined;
  }

  /** The invariant of the directory: the email of the user's row is held for that user. */
  async expectSound(party: Pick<Party, 'userId'>): Promise<void> {
    const address = await this.emailOf(party);
    if (address === undefined) return;
    const row = await this.#row(parseEmail(address) as Email);
    const holder = row === undefined || row.state === 'released' ? undefined : row.userId;
    expect(holder, `${address} of user ${party.userId}`).toBe(party.userId);
  }

  async #row(
    email: Email,
  ): Promise<{ readonly state: string; readonly userId: string } | undefined> {
    const text = 'SELECT state, user_id FROM email_directory WHERE email = ?';
    const [row] = await this.#app.services.database.onShard(
      (bucketOf(email.normalized) % 3) as ShardId,
      (shard) => shard.query(text, [email.normalized]),
      { deadlineMs: 5_000 },
    );
    if (row === undefined) return undefined;
    return { state: String(row['state']), userId: String(row['user_id']) };
  }
}
