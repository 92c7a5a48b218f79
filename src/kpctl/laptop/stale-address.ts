import { OpenError } from '../../tunnel/index.ts';

/** Of an address that was handed out for one of the cluster, and is not known any more. */
export function staleAddress(): OpenError {
  return new OpenError('unreachable', 'this address stood for one of the cluster that is not known any more');
}
