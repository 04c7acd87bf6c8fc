//! TLS towards providers, with the machine's own CA certificates.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::snapshot::HttpVersion;

/// One connector for each set of protocols that may be offered.
pub(crate) struct ClientTls {
    auto: TlsConnector,
    http1: TlsConnector,
    http2: TlsConnector,
}

impl ClientTls {
    /// Reads the machine's CA certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` are understood).
    pub fn load() -> Result<ClientTls, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(format!(
                "no CA certificates were found on this machine, so no https provider can be trusted ({}). \
                 Install the system's CA certificates or set SSL_CERT_FILE.",
                if errors.is_empty() { "none installed".to_owned() } else { errors.join("; ") }
            ));
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Ok(ClientTls {
            auto: connector(&[b"h2", b"http/1.1"]),
            http1: connector(&[b"http/1.1"]),
            http2: connector(&[b"h2"]),
        })
    }

    pub fn connector(&self, version: HttpVersion) -> &TlsConnector {
        match version {
            HttpVersion::Auto => &self.auto,
            HttpVersion::Http1 => &self.http1,
            HttpVersion::Http2 => &self.http2,
        }
    }
}
