import type { Binding, IndexedFunction } from '../contracts.ts';
import type { AppRegistry, RegisteredFunction } from './core-api.ts';
import { HostStartError } from './errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const TRIGGERS = [
  'httpTrigger',
  'queueTrigger',
  'timerTrigger',
  'orchestrationTrigger',
  'activityTrigger',
  'entityTrigger',
];
const INPUTS = ['durableClient', 'orchestrationClient'];
const OUTPUTS = ['http', 'queue'];

function includes(list: readonly string[], type: string): boolean {
  return list.some((entry) => entry.toLowerCase() === type.toLowerCase());
}

/** Type names are case-insensitive in host bindings. */
export function isType(binding: Binding, type: string): boolean {
  return binding.type.toLowerCase() === type.toLowerCase();
}

/** A textual option of a binding; empty when absent or of another type. */
export function textOption(binding: Binding, name: string): string {
  const value = binding[name];
  return typeof value === 'string' ? value : '';
}

function isTrigger(binding: Binding): boolean {
  return /trigger$/i.test(binding.type);
}

/** Replaces each `%NAME%` by the variable; a name without a value is a problem, not an empty text. */
function resolveNames(value: unknown, env: Environment, missing: Set<string>): unknown {
  if (typeof value === 'string') {
    return value.replace(/%([^%\s]+)%/g, (whole, name: string) => {
      const found = env[name];
      if (found === undefined) missing.add(name);
      return found ?? whole;
    });
  }
  if (Array.isArray(value)) return value.map((entry) => resolveNames(entry, env, missing));
  return value;
}

function resolveBindings(
  registered: RegisteredFunction,
  env: Environment,
  problems: string[],
): Record<string, Binding> {
  const missing = new Set<string>();
  const bindings: Record<string, Binding> = {};
  for (const [key, raw] of Object.entries(registered.metadata.bindings)) {
    const options = Object.fromEntries(
      Object.entries(raw).map(([name, value]) => [name, resolveNames(value, env, missing)]),
    );
    const direction = options['direction'] === 'out' ? 'out' : 'in';
    bindings[key] = { ...options, type: String(options['type']), direction, name: key };
  }
  for (const name of missing) {
    problems.push(
      `Function "${registered.metadata.name}" refers to %${name}%, which is not set. Add it to the environment or to Values in local.settings.json.`,
    );
  }
  return bindings;
}

function checkBinding(name: string, key: string, binding: Binding, problems: string[]): void {
  if (isTrigger(binding)) {
    if (!includes(TRIGGERS, binding.type)) {
      problems.push(
        `Function "${name}" has the trigger type "${binding.type}", which the local host does not support (${TRIGGERS.join(', ')}).`,
      );
    }
    return;
  }
  const supported = binding.direction === 'out' ? OUTPUTS : INPUTS;
  if (!includes(supported, binding.type)) {
    const kind = binding.direction === 'out' ? 'output' : 'input';
    problems.push(
      `Function "${name}" has the ${kind} binding "${key}" of type "${binding.type}", which the local host does not support (${supported.join(', ')}).`,
    );
  }
}

function isDisabled(name: string, env: Environment): boolean {
  const value = env[`AzureWebJobs.${name}.Disabled`] ?? env[`AzureWebJobs_${name}_Disabled`];
  return value !== undefined && /^(true|1)$/i.test(value);
}

function indexOne(
  registered: RegisteredFunction,
  env: Environment,
  allProblems: string[],
): IndexedFunction | undefined {
  const { name } = registered.metadata;
  const disabled = isDisabled(name, env);
  // Disabling a function is the way to start an app this machine cannot serve completely.
  const problems = disabled ? [] : allProblems;
  const bindings = resolveBindings(registered, env, problems);
  const triggers = Object.entries(bindings).filter(([, binding]) => isTrigger(binding));
  const [first] = triggers;
  if (first === undefined || triggers.length > 1) {
    problems.push(`Function "${name}" has ${triggers.length} triggers; it must have exactly one.`);
    return undefined;
  }
  for (const [key, binding] of Object.entries(bindings)) checkBinding(name, key, binding, problems);
  return {
    name,
    functionId: registered.functionId,
    scriptFile: registered.scriptFile,
    triggerName: first[0],
    trigger: first[1],
    bindings,
    disabled,
    retryOptions: registered.metadata.retryOptions,
  };
}

/**
 * Turns what the app registered into functions the triggers can use. Throws {@link HostStartError}
 * with one line for each problem: unsupported types, unset `%NAME%`s, names that differ in case only.
 */
export function indexFunctions(
  registry: AppRegistry,
  options: { readonly env: Environment; readonly only: ReadonlySet<string> | undefined },
): readonly IndexedFunction[] {
  const problems: string[] = [];
  const byName = new Map<string, IndexedFunction>();
  for (const registered of registry.functions) {
    if (options.only !== undefined && !options.only.has(registered.metadata.name)) continue;
    const fn = indexOne(registered, options.env, problems);
    if (fn === undefined) continue;
    const key = fn.name.toLowerCase();
    if (byName.has(key)) problems.push(`Two functions are named "${fn.name}" (ignoring case).`);
    byName.set(key, fn);
  }
  if (problems.length > 0) throw new HostStartError(problems.join('\n'));
  if (byName.size === 0) {
    throw new HostStartError(
      'The app registered no functions. Do the files named by "main" in package.json call app.http(), app.storageQueue(), …?',
    );
  }
  return [...byName.values()];
}
