import type { ManagementResponse } from '../../contracts.ts';

const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8' };

/** A JSON answer. */
export function jsonResponse(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): ManagementResponse {
  return { status, headers: { ...JSON_HEADERS, ...headers }, body: JSON.stringify(value) };
}

/** An answer that explains a refusal: a JSON string, which the client library puts into its errors. */
export function refusal(status: number, message: string): ManagementResponse {
  return jsonResponse(status, message);
}

/** 202 without a body. */
export const ACCEPTED: ManagementResponse = { status: 202, headers: {}, body: '' };

/** Whether `text` is JSON; empty text counts, as "no value". */
export function isJsonOrEmpty(text: string): boolean {
  if (text === '') return true;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The value of JSON text; text that is not JSON is returned as it is, `null` stays `null`. */
export function parsedOrText(text: string | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
