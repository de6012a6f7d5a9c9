import { OptionError } from '../../overlay-core/index.ts'
import { parseAddress } from '../address.ts'
import type { Table } from './key.ts'
import { textType } from './value-types.ts'

export const METRICS = {
  name: 'metrics',
  named: false,
  meaning:
    'A listener for Prometheus and for probes ([metrics](metrics.md)). It has no login and serves `/metrics`, `/healthz` and `/readyz` alone; metrics name templates, but no users and no paths.',
  keys: {
    listen: {
      type: textType('"HOST:PORT"', 'an address', (text) => {
        const address = parseAddress('metrics.listen', text, true)
        if (address === undefined) throw new OptionError('metrics.listen', 'cannot be off; remove the table [metrics]')
        return { text, address }
      }),
      meaning: 'Where it listens. An address that others reach tells them how busy the server is.',
      default: '"127.0.0.1:9464"',
    },
  },
} as const satisfies Table
