import { describe, expect, test } from 'vitest';
import { createProgressPrinter, describeTransfer } from '../../../../local/shards/progress.ts';

describe('a transfer in words', () => {
  test('amount alone while the rate is not known', () => {
    expect(describeTransfer(1_500_000, undefined, 100)).toBe('1.5 MB');
    expect(describeTransfer(0, 9_000_000, 9_000)).toBe('0.0 of 9.0 MB');
  });

  test('rate, and the time left when the size is known', () => {
    expect(describeTransfer(4_000_000, undefined, 2_000)).toBe('4.0 MB, 2.0 MB/s');
    expect(describeTransfer(4_000_000, 10_000_000, 2_000)).toBe(
      '4.0 of 10.0 MB, 2.0 MB/s, 3 s left',
    );
  });
});

describe('printing', () => {
  function printed(isTTY: boolean, times: readonly number[]): string {
    let text = '';
    let time = 0;
    const target = { isTTY, columns: 60, write: (part: string) => (text += part) };
    const print = createProgressPrinter(target, () => time);
    for (const [index, at] of times.entries()) {
      time = at;
      print({ kind: 'transfer', label: 'files', doneBytes: index * 1_000_000, totalBytes: 9e6 });
    }
    print({ kind: 'step', message: 'Done' });
    return text;
  }

  test('a terminal gets one line, rewritten, that the next step replaces', () => {
    expect(printed(true, [0, 1_000])).toBe(
      '\r\u001b[K  files: 0.0 of 9.0 MB\r\u001b[K  files: 1.0 of 9.0 MB, 1.0 MB/s, 8 s left\r\u001b[KDone\n',
    );
  });

  test('a log gets whole lines, five seconds apart', () => {
    expect(printed(false, [0, 1_000, 2_000, 6_000])).toBe(
      '  files: 0.0 of 9.0 MB\n  files: 3.0 of 9.0 MB, 0.5 MB/s, 12 s left\nDone\n',
    );
  });
});
