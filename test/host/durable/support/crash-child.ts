/**
 * A host that kills itself. Arguments: folder, probe point, and after how many visits of that point
 * to die with SIGKILL. Exits with 0 when all instances end before that.
 */
import { setTimeout as delay } from 'node:timers/promises';
import './crash-app.ts';
import { startTestHost } from './test-host.ts';

const [dataDir = '', point = '', visits = '0', instances = '0'] = process.argv.slice(2);
let left = Number(visits);

const host = await startTestHost({
  dataDir,
  probe: {
    reach(at) {
      if (at !== point) return;
      left -= 1;
      if (left === 0) process.kill(process.pid, 'SIGKILL');
    },
  },
});
for (let i = 0; i < Number(instances); i += 1) {
  const response = await host.call('GET', `/instances/job-${i}`);
  if (response.status === 404) await host.start('everything', 1, `job-${i}`);
}
for (;;) {
  const { body } = await host.call('GET', '/instances/?top=1000&runtimeStatus=Pending,Running');
  if (Array.isArray(body) && body.length === 0) break;
  await delay(10);
}
await host.stop();
