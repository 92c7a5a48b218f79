import { isIPv6 } from 'node:net';
import type { EnvironmentService } from './objects.ts';

/**
 * The variables that tell a container of Services: `{NAME}_SERVICE_HOST`, `{NAME}_SERVICE_PORT[_{PORT}]` and those of
 * Docker's old links (kubelet's pkg/kubelet/envvars). Services without a cluster IP give none.
 */
export function serviceVariables(services: Iterable<EnvironmentService>): Map<string, string> {
  const variables = new Map<string, string>();
  for (const { metadata, spec } of services) {
    const address = spec.clusterIP ?? '';
    const ports = spec.ports ?? [];
    const first = ports[0];
    if (address === '' || address === 'None' || first === undefined) continue;
    const name = variableName(metadata.name);
    variables.set(`${name}_SERVICE_HOST`, address);
    variables.set(`${name}_SERVICE_PORT`, String(first.port));
    for (const port of ports)
      if (port.name !== undefined && port.name !== null && port.name !== '')
        variables.set(`${name}_SERVICE_PORT_${variableName(port.name)}`, String(port.port));
    for (const [index, port] of ports.entries()) {
      const protocol = port.protocol ?? 'TCP';
      const url = `${protocol.toLowerCase()}://${isIPv6(address) ? `[${address}]` : address}:${port.port}`;
      if (index === 0) variables.set(`${name}_PORT`, url);
      const prefix = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
      variables.set(prefix, url);
      variables.set(`${prefix}_PROTO`, protocol.toLowerCase());
      variables.set(`${prefix}_PORT`, String(port.port));
      variables.set(`${prefix}_ADDR`, address);
    }
  }
  return variables;
}

function variableName(name: string): string {
  const upper = name.replaceAll(/[.-]/g, '_').toUpperCase();
  return /^\d/.test(upper) ? `_${upper}` : upper;
}
