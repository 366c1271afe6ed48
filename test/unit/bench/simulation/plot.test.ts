import { describe, expect, test } from 'vitest';
import { logAxis, plotSchemes } from '../../../../bench/simulation/plot.ts';
import type { SchemeFigures } from '../../../../bench/simulation/results.ts';
import { CHANGES, START } from '../../../../bench/simulation/schemes.ts';

const exactly = (value: number) => ({ median: value, least: value, most: value });

function scheme(name: string, most: number): SchemeFigures {
  const loads = Array.from({ length: START }, (_, place) => Math.max(0, most - place / 10));
  return {
    scheme: name,
    loads,
    least: exactly(0),
    most: exactly(most),
    deviation: exactly(0.1),
    changes: CHANGES.map((shards) => ({
      shards,
      keysMoved: exactly(0.1),
      ordersMoved: exactly(0.25),
      most: exactly(most),
    })),
  };
}

describe('a logarithmic axis', () => {
  const axis = logAxis(1, 100, 0, 200);
  test.each([
    [1, 0],
    [10, 100],
    [100, 200],
    [0.5, 0],
    [1_000, 200],
  ])('puts %d at %d', (value, pixel) => {
    expect(axis(value)).toBeCloseTo(pixel, 9);
  });
});

describe('the plot', () => {
  const names = ['bucket map', 'hash mod N', 'ring & many', 'ring <1>'];
  const svg = plotSchemes(
    names.map((name, index) => scheme(name, 2 + index)),
    { title: 'Orders & shards', subtitle: 'of a test' },
  );

  test('is one well-formed document: all that opens closes, and nothing is left unescaped', () => {
    const open: string[] = [];
    const unmatched = [...svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)].filter(
      ([, close, tag = '', self]) => {
        if (close === '/') return open.pop() !== tag;
        if (self !== '/') open.push(tag);
        return false;
      },
    );
    expect([...unmatched, ...open]).toEqual([]);
    expect(svg).not.toMatch(/&(?!amp;|lt;)/);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('names every scheme, draws its curve, and marks it at every change', () => {
    for (const [index, name] of names.entries()) {
      const text = name.replace('&', '&amp;').replace('<', '&lt;');
      expect(svg).toContain(`>${text}</text>`);
      expect(svg.match(new RegExp(`<path class="line s${index}"`, 'g'))).toHaveLength(1);
      expect(svg.match(new RegExp(`class="mark s${index}"`, 'g'))).toHaveLength(1 + CHANGES.length);
    }
    for (const shards of CHANGES) expect(svg).toContain(`>${START} → ${shards}</text>`);
  });

  test('draws a step for each shard inside the panel', () => {
    const [, path = ''] = /<path class="line s0" d="([^"]+)"/.exec(svg) ?? [];
    expect(path.match(/H/g)).toHaveLength(START);
    const heights = [...path.matchAll(/(?:V|M 64) ([\d.]+)/g)].map(([, y]) => Number(y));
    expect(heights).toHaveLength(START);
    expect(heights).toEqual(heights.toSorted((a, b) => a - b));
    expect(Math.min(...heights)).toBeGreaterThanOrEqual(118);
    expect(Math.max(...heights)).toBeLessThanOrEqual(408);
  });

  test('says in words what it shows, and has colours for dark pages', () => {
    expect(svg).toMatch(/<desc id="desc">bucket map: hottest shard 2\.00 times the mean;/);
    expect(svg).toContain('@media (prefers-color-scheme:dark)');
  });
});
