/** A gateway that refuses SPDY, in front of the API server of $KUBECONFIG: prints the kubeconfig that leads through it. */
import { refuseSpdy } from '../harness/spdy-refusing-gateway.ts';

await using gateway = await refuseSpdy(process.env['KUBECONFIG'] ?? '');
process.stdout.write(`kubeconfig ${gateway.kubeconfig}\n`);
await new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()));
