"""What is wrong with the films, found before anyone trains: `audit` looks, `Audit` tells, `Finding` proves."""

from cxray.data.audit.findings import Audit, Finding
from cxray.data.audit.summary import audit, audit_intake

__all__ = ["Audit", "Finding", "audit", "audit_intake"]
