import type { HttpRequest, InvocationContext, PreInvocationContext } from '@azure/functions';
import { isTraceparent, traceOf } from '../kernel/traceparent.ts';
import type { Attributes, Span, Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES } from '../kernel/telemetry-names.ts';

/** The part of `app` of `@azure/functions` that is used. */
export interface HookApp {
  readonly hook: { preInvocation(handler: (context: PreInvocationContext) => void): unknown };
}

/**
 * Runs every function of the app in a span below the context that the host gives. One place for all triggers: the slices
 * need not know. An orchestration gets a span for each of its turns, outside of what is replayed.
 */
export function traceInvocations(app: HookApp, telemetry: Telemetry): void {
  app.hook.preInvocation((pre) => {
    const handler = pre.functionHandler;
    pre.functionHandler = (input: unknown, context: InvocationContext) => {
      const trigger = String(context.options.trigger['type']).replace(/Trigger$/, '');
      return telemetry.span(
        context.functionName,
        {
          kind: trigger === 'http' ? 'server' : trigger === 'queue' ? 'consumer' : 'internal',
          attributes: attributesOf(trigger, input, context),
          parent: { traceparent: parentOf(trigger, input, context) },
        },
        async (span) => {
          const result: unknown = await handler(input, context);
          if (trigger === 'http') tellStatus(span, result);
          return result;
        },
      );
    };
  });
}

/**
 * The host's span, which lies in the caller's trace where the host honours its header; else the caller's own. A host that
 * has begun another trace loses against the caller: that header is part of the contract.
 */
function parentOf(trigger: string, input: unknown, context: InvocationContext): string | undefined {
  const host = context.traceContext?.traceParent;
  const caller = trigger === 'http' ? (input as HttpRequest).headers.get('traceparent') : undefined;
  if (!isTraceparent(caller)) return host;
  return traceOf(host) === traceOf(caller) ? host : caller;
}

function attributesOf(trigger: string, input: unknown, context: InvocationContext): Attributes {
  const { method, route } = httpOf(context);
  const instance = trigger === 'orchestration' ? input : context.triggerMetadata;
  return {
    [ATTRIBUTES.trigger]: trigger,
    [ATTRIBUTES.invocation]: context.invocationId,
    ...instanceIn(instance),
    ...(method === undefined ? {} : { [ATTRIBUTES.httpMethod]: method }),
    ...(route === undefined ? {} : { [ATTRIBUTES.httpRoute]: route }),
  };
}

/** As it was registered: a real address may hold an email. */
function httpOf({ options }: InvocationContext): { method?: string; route?: string } {
  const { methods, route } = options.trigger as Record<string, unknown>;
  return {
    ...(Array.isArray(methods) && methods.length === 1 ? { method: String(methods[0]) } : {}),
    ...(typeof route === 'string' ? { route } : {}),
  };
}

/** The instance of an orchestration's turn, or the one that asked for an activity. */
function instanceIn(named: unknown): Attributes {
  const { instanceId } = (named ?? {}) as { readonly instanceId?: unknown };
  return typeof instanceId === 'string' ? { [ATTRIBUTES.instance]: instanceId } : {};
}

function tellStatus(span: Span, result: unknown): void {
  const { status } = (result ?? {}) as { readonly status?: unknown };
  if (typeof status !== 'number') return;
  span.set(ATTRIBUTES.httpStatus, status);
  if (status >= 500) span.fail(String(status));
}
