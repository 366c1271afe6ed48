import { describe } from 'vitest';
import { stackTests } from '../support/stack-tests.ts';

describe('a stack of mariadb', () => {
  stackTests('mariadb');
});
