/**
 * Hook of `azd provision`: refuses what cannot work before anything is created, with the arithmetic. Reads the azd
 * environment from its own; changes nothing, and may be run at any time.
 */
import { readFunctions, readSkus } from '../plan/skus.ts';
import { deploymentProblems } from './profile-checks.ts';

const problems = deploymentProblems(process.env, { skus: readSkus(), functions: readFunctions() });
for (const problem of problems) console.error(problem);
if (problems.length > 0) {
  console.error('Nothing was provisioned. Values are changed with: azd env set NAME VALUE');
  process.exitCode = 1;
} else {
  console.log('The connection budget and the profile are in order.');
}
