import { existsSync, globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AppRegistry } from './core-api.ts';
import { errorMessage, errorStack, HostStartError, isRecord } from './errors.ts';

interface AppPackage {
  readonly main: string;
  readonly isModule: boolean;
}

function readPackage(appDir: string): AppPackage {
  const file = join(appDir, 'package.json');
  if (!existsSync(file)) {
    throw new HostStartError(
      `No package.json in ${appDir}. Give the folder of a Functions app with --app.`,
    );
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new HostStartError(`${file} is not valid JSON: ${errorMessage(error)}`, error);
  }
  const fields = isRecord(parsed) ? parsed : {};
  if (typeof fields['main'] !== 'string' || fields['main'] === '') {
    throw new HostStartError(
      `${file} has no "main". The v4 programming model needs it: a file or a glob such as "dist/src/functions/*.js".`,
    );
  }
  return { main: fields['main'], isModule: fields['type'] === 'module' };
}

/** The files `main` names, sorted; it may be a glob, as in the Functions worker. */
function entryPoints(appDir: string, main: string): string[] {
  const files = globSync(main, { cwd: appDir })
    .map((file) => join(appDir, file))
    .toSorted();
  if (files.length === 0) {
    throw new HostStartError(
      `Found zero files for "main": "${main}" in ${appDir}. Is the app built? (npm run build)`,
    );
  }
  return files;
}

function isEsm(file: string, appIsModule: boolean): boolean {
  const extension = extname(file);
  return extension === '.mjs' || (extension === '.js' && appIsModule);
}

/** The stack without the message in its middle; before it, syntax errors show the place. */
function trace(error: unknown): string {
  const message = errorMessage(error);
  const stack = errorStack(error);
  const at = stack.indexOf(message);
  if (at < 0) return stack;
  const place = stack.slice(0, at).replace(/[^\n]*$/, '');
  return `${place}${stack.slice(at + message.length).trimStart()}`;
}

/**
 * Loads every entry file of the app in order; the app registers its functions meanwhile.
 * Throws {@link HostStartError} naming the file when one cannot be loaded: a partial app never starts.
 */
export async function loadApp(appDir: string, registry: AppRegistry): Promise<void> {
  const { main, isModule } = readPackage(appDir);
  for (const file of entryPoints(appDir, main)) {
    registry.currentEntryPoint = basename(file);
    try {
      if (isEsm(file, isModule)) await import(pathToFileURL(file).href);
      else createRequire(file)(file);
    } catch (error) {
      throw new HostStartError(
        `Worker was unable to load entry point "${file}": ${errorMessage(error)}\n${trace(error)}`,
        error,
      );
    } finally {
      registry.currentEntryPoint = 'unknown';
    }
  }
}
