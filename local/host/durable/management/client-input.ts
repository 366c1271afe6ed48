import type { DurableRuntimeOptions } from '../../contracts.ts';

/** Path of the durable webhooks on the host. */
export const WEBHOOK_PATH = '/runtime/webhooks/durabletask';

/** The host accepts any key on loopback; the parameter is there because clients copy the URLs. */
const CODE = 'code=local';

/** The management URLs of an instance, as Azure returns them from a start. */
export function managementUrls(
  options: Pick<DurableRuntimeOptions, 'origin' | 'settings'>,
  instanceId: string,
): Readonly<Record<string, string>> {
  const base = `${options.origin}${WEBHOOK_PATH}/instances/${instanceId}`;
  const query = requiredQuery(options);
  const command = (name: string): string => `${base}/${name}?reason={text}&${query}`;
  return {
    id: instanceId,
    statusQueryGetUri: `${base}?${query}`,
    sendEventPostUri: `${base}/raiseEvent/{eventName}?${query}`,
    terminatePostUri: command('terminate'),
    rewindPostUri: command('rewind'),
    purgeHistoryDeleteUri: `${base}?${query}`,
    restartPostUri: `${base}/restart?${query}`,
    suspendPostUri: command('suspend'),
    resumePostUri: command('resume'),
  };
}

/**
 * The JSON text for `durableClient` bindings. `INSTANCEID` and the braces are placeholders that the
 * client replaces itself; with `rpcBaseUrl` it builds its own URLs, so that must end in `/`.
 */
export function clientInput(options: Pick<DurableRuntimeOptions, 'origin' | 'settings'>): string {
  const base = `${options.origin}${WEBHOOK_PATH}`;
  const create = `${base}/orchestrators/{functionName}[/{instanceId}]`;
  return JSON.stringify({
    taskHubName: options.settings.hubName,
    creationUrls: {
      createNewInstancePostUri: `${create}?${CODE}`,
      createAndWaitOnNewInstancePostUri: `${create}?timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}&${CODE}`,
    },
    managementUrls: managementUrls(options, 'INSTANCEID'),
    baseUrl: base,
    requiredQueryStringParameters: requiredQuery(options),
    rpcBaseUrl: `${base}/`,
  });
}

function requiredQuery(options: Pick<DurableRuntimeOptions, 'settings'>): string {
  return `taskHub=${options.settings.hubName}&connection=Storage&${CODE}`;
}
