import { readFileSync } from 'node:fs';
import { Failure, messageOf, systemCode } from '../platform/errors.ts';

/** PEM from base64 `data`, else from `file`; undefined where neither is given. */
export function pem(data: string | undefined, file: string | undefined, what: string): Buffer | undefined {
  if (data !== undefined) return Buffer.from(data, 'base64');
  if (file === undefined) return undefined;
  try {
    return readFileSync(file);
  } catch (error) {
    throw fileFailure(what, file, error);
  }
}

/** A file that the kubeconfig names and that cannot be read: KUBECONFIG_INVALID. */
export function fileFailure(what: string, file: string, error: unknown): Failure {
  return new Failure('KUBECONFIG_INVALID', `the ${what} ${file} cannot be read: ${systemCode(error) ?? messageOf(error)}`, {
    cause: error,
  });
}
