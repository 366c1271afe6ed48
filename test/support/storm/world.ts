import type { TestApp } from '../app.ts';
import type { HttpClient } from '../http.ts';
import type { Random } from '../random.ts';
import { createBook, type Book } from './book.ts';
import { createCaller, type Caller } from './caller.ts';

/** What every lane of a storm works with. */
export interface StormWorld {
  readonly app: TestApp;
  readonly book: Book;
  readonly caller: Caller;
  readonly random: Random;
  /** A number that no other write of the storm uses. */
  next(): number;
}

/** One lane: it speaks to one instance, and looks through another one at what it wrote. */
export interface Lane extends StormWorld {
  readonly http: HttpClient;
  readonly other: HttpClient;
}

/** Past the ids that the first orders of a storm have. */
const FIRST_NUMBER = 5_000_001;

export function createStormWorld(
  app: TestApp,
  random: Random,
  options: { readonly mayBreak: boolean },
): StormWorld {
  let number = FIRST_NUMBER;
  return {
    app,
    random,
    book: createBook(),
    caller: createCaller(options),
    next: () => number++,
  };
}
