/**
 * Names of all that is told of the app while it runs. The queries, the workbook and the alerts of `infra/` use these
 * names; a test compares the two.
 */

/** Keys of attributes on spans and metrics. Those of OpenTelemetry's conventions keep their names. */
export const ATTRIBUTES = {
  shard: 'shardline.shard',
  bucket: 'shardline.bucket',
  saga: 'shardline.saga',
  sagaStep: 'shardline.saga.step',
  sagaVerb: 'shardline.saga.verb',
  instance: 'shardline.instance',
  redirects: 'shardline.redirects',
  waits: 'shardline.waits',
  rows: 'shardline.rows',
  outcome: 'shardline.outcome',
  source: 'shardline.source',
  inTime: 'shardline.in_time',
  operation: 'shardline.operation',
  state: 'shardline.state',
  pool: 'shardline.pool',
  queue: 'shardline.queue',
  kind: 'shardline.kind',
  way: 'shardline.way',
  action: 'shardline.action',
  errorType: 'error.type',
  dbSystem: 'db.system.name',
  dbOperation: 'db.operation.name',
  dbTable: 'db.collection.name',
  dbText: 'db.query.text',
  trigger: 'faas.trigger',
  invocation: 'faas.invocation_id',
  httpMethod: 'http.request.method',
  httpRoute: 'http.route',
  httpStatus: 'http.response.status_code',
} as const;

/** Names of spans that are not named after a function or a statement. */
export const SPANS = {
  /** A call on the owner of a bucket, with its redirects, waits and retries. */
  onOwner: 'database.on_owner',
  /** One delivery of a step of a saga. */
  sagaStep: 'saga.step',
  /** From a saga's beginning to its answer, or to the end of the caller's patience. */
  sagaSubmit: 'saga.submit',
} as const;

export interface MetricDefinition {
  readonly name: string;
  /** `gauge`: read at each export. A `histogram` of something looked at now and then tells its maximum. */
  readonly kind: 'counter' | 'histogram' | 'gauge';
  /** UCUM, as OpenTelemetry has it. */
  readonly unit: string;
  readonly description: string;
  /** All keys it may carry: each value of each is a series that costs. */
  readonly attributes: readonly string[];
}

/** An order write that takes longer is not in time (docs/slo.md). Milliseconds. */
export const ORDER_WRITE_TARGET_MS = 500;
/** An order that waits longer in the queue until it is written is not in time (docs/slo.md). Milliseconds. */
export const INGESTION_TARGET_MS = 60_000;

const A = ATTRIBUTES;

export const METRICS = {
  orderWrites: {
    name: 'shardline.order.writes',
    kind: 'counter',
    unit: '{order}',
    description:
      'Orders by what became of them: created, replayed, refused (the caller is to blame), unavailable, failed.',
    attributes: [A.source, A.outcome, A.inTime],
  },
  orderWriteDuration: {
    name: 'shardline.order.write.duration',
    kind: 'histogram',
    unit: 'ms',
    description: 'From a validated order to its answer, over HTTP.',
    attributes: [A.source, A.outcome],
  },
  ingestedOrders: {
    name: 'shardline.ingestion.orders',
    kind: 'counter',
    unit: '{order}',
    description: 'Queue orders that were written, by whether they waited for less than the target.',
    attributes: [A.inTime],
  },
  ingestionDelay: {
    name: 'shardline.ingestion.delay',
    kind: 'histogram',
    unit: 'ms',
    description: 'From the time a message came first to the time its orders were written.',
    attributes: [],
  },
  sagasEnded: {
    name: 'shardline.saga.ended',
    kind: 'counter',
    unit: '{saga}',
    description:
      'Sagas by how they ended (completed, compensated) and how they went (local, saga). At least once each.',
    attributes: [A.kind, A.outcome, A.way],
  },
  sagasAttention: {
    name: 'shardline.saga.attention',
    kind: 'counter',
    unit: '{saga}',
    description: 'States written down of sagas that do not get on.',
    attributes: [A.kind],
  },
  sagaSteps: {
    name: 'shardline.saga.steps',
    kind: 'counter',
    unit: '{delivery}',
    description: 'Deliveries of steps by their answer.',
    attributes: [A.sagaStep, A.sagaVerb, A.outcome],
  },
  sagasSwept: {
    name: 'shardline.saga.swept',
    kind: 'counter',
    unit: '{saga}',
    description: 'What the sweep found, per shard: stale, alive, revived, ended, failed.',
    attributes: [A.shard, A.state],
  },
  shardCalls: {
    name: 'shardline.shard.calls',
    kind: 'counter',
    unit: '{call}',
    description: 'Calls to a shard with all their retries: ok, unavailable, error.',
    attributes: [A.shard, A.outcome],
  },
  shardFailures: {
    name: 'shardline.shard.failures',
    kind: 'counter',
    unit: '{attempt}',
    description: 'Failed attempts on a shard that may be tried again, by the kind of failure.',
    attributes: [A.shard, A.errorType],
  },
  statementDuration: {
    name: 'shardline.statement.duration',
    kind: 'histogram',
    unit: 'ms',
    description: 'One exchange with a shard: a statement, or a packet of several.',
    attributes: [A.shard, A.operation, A.outcome],
  },
  rowsWritten: {
    name: 'shardline.shard.rows_written',
    kind: 'counter',
    unit: '{row}',
    description: 'Rows that the servers reported as affected by writes.',
    attributes: [A.shard],
  },
  redirects: {
    name: 'shardline.redirects',
    kind: 'counter',
    unit: '{redirect}',
    description: 'Refusals of a shard that were followed to another one.',
    attributes: [A.shard],
  },
  fenceWait: {
    name: 'shardline.fence.wait',
    kind: 'histogram',
    unit: 'ms',
    description: 'Pauses of callers whose bucket had no owner, by its state.',
    attributes: [A.shard, A.state],
  },
  poolWait: {
    name: 'shardline.pool.wait',
    kind: 'histogram',
    unit: 'ms',
    description: 'Time until a caller had a connection.',
    attributes: [A.shard, A.pool],
  },
  poolConnections: {
    name: 'shardline.pool.connections',
    kind: 'gauge',
    unit: '{connection}',
    description: 'Connections open and idle, callers waiting, and the limit.',
    attributes: [A.shard, A.pool, A.state],
  },
  circuit: {
    name: 'shardline.circuit.state',
    kind: 'gauge',
    unit: '1',
    description: '0 closed, 1 half-open, 2 open.',
    attributes: [A.shard],
  },
  queueAge: {
    name: 'shardline.queue.age',
    kind: 'histogram',
    unit: 'ms',
    description: 'Age of a message when it is delivered.',
    attributes: [A.queue],
  },
  queueLength: {
    name: 'shardline.queue.length',
    kind: 'histogram',
    unit: '{message}',
    description:
      'Approximate length of the queues and their poison queues, looked at once a sweep.',
    attributes: [A.queue],
  },
  moves: {
    name: 'shardline.moves',
    kind: 'counter',
    unit: '{move}',
    description: 'Steps of moves of buckets by their outcome.',
    attributes: [A.action, A.outcome],
  },
  moveStall: {
    name: 'shardline.move.stall',
    kind: 'histogram',
    unit: 'ms',
    description: 'How long writers of a bucket waited for its switch.',
    attributes: [],
  },
  maintenanceUnits: {
    name: 'shardline.maintenance.units',
    kind: 'counter',
    unit: '{unit}',
    description: 'Units of maintenance (a table of a shard) by action and outcome.',
    attributes: [A.shard, A.action, A.outcome],
  },
  maintenanceDuration: {
    name: 'shardline.maintenance.duration',
    kind: 'histogram',
    unit: 'ms',
    description: 'Duration of one unit of maintenance.',
    attributes: [A.shard, A.action],
  },
} as const satisfies Record<string, MetricDefinition>;
