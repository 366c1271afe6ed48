import { describe, expect, test } from 'vitest';
import { parseConstraint } from '../../../local/host/http/constraints.ts';
import { parseRouteTemplate } from '../../../local/host/http/route-template.ts';
import { Router } from '../../../local/host/http/router.ts';

function match(templates: readonly string[], path: string) {
  const router = new Router(
    templates.map((target) => ({
      segments: parseRouteTemplate(target),
      methods: new Set(['GET']),
      target,
    })),
  );
  const found = router.match('GET', path);
  return found === undefined ? undefined : [found.target, found.params];
}

describe('constraints', () => {
  test.each([
    ['int', ['0', '-12', '+3', '2147483647'], ['', 'x', '1.5', '2147483648', '1e3']],
    ['long', ['9223372036854775807', '-9223372036854775808'], ['9223372036854775808', 'a']],
    ['bool', ['true', 'FALSE'], ['1', 'yes']],
    ['guid', ['0af76519-16cd-43dd-8448-eb211c80319c'], ['0af76519', 'zzz']],
    ['alpha', ['abcXYZ'], ['ab1', 'a-b', 'ä']],
    ['decimal', ['1', '-1.5', '.5'], ['1e3', 'x']],
    ['double', ['1e3', '-.5'], ['x', '']],
    ['datetime', ['2026-01-01', '2026-01-01T10:00:00Z'], ['soon', '']],
    ['length(3)', ['abc'], ['ab', 'abcd']],
    ['length(2,3)', ['ab', 'abc'], ['a', 'abcd']],
    ['minlength(2)', ['ab'], ['a']],
    ['maxlength(2)', ['', 'ab'], ['abc']],
    ['min(5)', ['5', '99'], ['4', 'x']],
    ['max(5)', ['-7', '5'], ['6']],
    ['range(1,3)', ['1', '3'], ['0', '4']],
    ['regex(^a+$)', ['aa', 'AA'], ['ab', '']],
  ])('%s', (text, accepted, refused) => {
    const constraint = parseConstraint(text);
    expect(accepted.filter((value) => !constraint(value))).toEqual([]);
    expect(refused.filter((value) => constraint(value))).toEqual([]);
  });

  test.each(['colour', 'length', 'length(a)', 'range(1)', 'min(1,2)', ''])(
    '%s is refused',
    (text) => {
      expect(() => parseConstraint(text)).toThrow(/unknown route constraint/);
    },
  );
});

describe('templates', () => {
  test.each([
    ['a/{b', /braces do not match/],
    ['a/{b:regex(^\\d{3}$)}', /braces|valid parameter|constraint/],
    ['{*all}/more', /must be the last segment/],
    ['{id}/{ID}', /occurs twice/],
    ['a//b', /empty segment/],
    ['{}', /not a valid parameter/],
    ['{id:colour}', /unknown route constraint "colour"/],
  ])('%s is refused', (template, message) => {
    expect(() => parseRouteTemplate(template)).toThrow(message);
  });

  test('a regex may hold slashes, colons and doubled braces', () => {
    const template = 'codes/{code:regex(^\\d{{3}}[:/]x$):maxlength(9)}/end';
    expect(match([template], '/codes/123:x/end')).toEqual([template, { code: '123:x' }]);
    expect(match([template], '/codes/12:x/end')).toBeUndefined();
  });
});

describe('precedence', () => {
  const all = ['{*rest}', 'a/{x}', 'a/{x:int}', 'a/b', 'a/v{n}', '{y}/b'];

  test.each([
    ['/a/b', 'a/b'],
    ['/a/v7', 'a/v{n}'],
    ['/a/7', 'a/{x:int}'],
    ['/a/c', 'a/{x}'],
    ['/q/b', '{y}/b'],
    ['/q/r/s', '{*rest}'],
    ['/', '{*rest}'],
  ])('%s goes to %s', (path, target) => {
    expect(match(all, path)?.[0]).toBe(target);
    expect(match(all.toReversed(), path)?.[0]).toBe(target);
  });
});

describe('values', () => {
  test.each([
    ['p/{a?}', '/p', {}],
    ['p/{a=1}/{b=2}', '/p', { a: '1', b: '2' }],
    ['p/{a=1}/{b=2}', '/p/x/', { a: 'x', b: '2' }],
    ['p/{*a}', '/p/x/y%20z', { a: 'x/y z' }],
    ['p/{a}', '/p/%E2%82%AC%2F%', { a: '€%2F%' }],
    ['p/{a}-{b}', '/p/1-2-3', { a: '1-2', b: '3' }],
    ['p/{a:int?}', '/p', {}],
  ])('%s with %s', (template, path, params) => {
    expect(match([template], path)).toEqual([template, params]);
  });

  test('an empty segment is no value', () => {
    expect(match(['p/{a}/q'], '/p//q')).toBeUndefined();
  });
});
