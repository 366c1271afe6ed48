/** Where lines go. */
export interface LineOutput {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/**
 * The process's own output. Lines of standard output that are written in one turn of the event loop leave it together: a
 * write to a pipe is a system call that wakes whoever reads it, dearer than all else that a line costs. What came before an
 * error's line, and before the process ends by itself, is written first; `kill -9` may take the lines of the last turn along.
 */
export function createProcessOutput(): LineOutput {
  let pending = '';
  const flush = (): void => {
    if (pending === '') return;
    const text = pending;
    pending = '';
    process.stdout.write(text);
  };
  process.on('exit', flush);
  return {
    stdout: (text) => {
      if (pending === '') setImmediate(flush);
      pending += text;
    },
    stderr: (text) => {
      flush();
      process.stderr.write(text);
    },
  };
}
