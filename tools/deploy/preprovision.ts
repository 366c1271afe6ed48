/**
 * Hook of `azd provision`: refuses what cannot work before anything is created, with the arithmetic. Reads the azd
 * environment from its own; changes nothing, and may be run at any time.
 */
import { CannotDo } from '../app-client.ts';
import { readFunctions, readSkus } from '../plan/skus.ts';
import { deploymentProblems } from './profile-checks.ts';

function problemsOf(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  try {
    return deploymentProblems(env, { skus: readSkus(), functions: readFunctions() });
  } catch (error) {
    if (error instanceof CannotDo) return [error.message];
    throw error;
  }
}

const problems = problemsOf(process.env);
for (const problem of problems) console.error(problem);
if (problems.length > 0) {
  console.error('Nothing was provisioned. Values are changed with: azd env set NAME VALUE');
  process.exitCode = 1;
} else {
  console.log('The connection budget and the profile are in order.');
}
