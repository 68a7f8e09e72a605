//! `struct nlattr` and attributes.

use super::{align, u16_at, u32_at, u64_at};

/// Bytes of `struct nlattr`.
pub const NLA_HDRLEN: usize = 4;
/// The attribute holds attributes (`NLA_F_NESTED`).
pub const NLA_F_NESTED: u16 = 0x8000;
/// The payload is in network byte order (`NLA_F_NET_BYTEORDER`).
pub const NLA_F_NET_BYTEORDER: u16 = 0x4000;
/// `nla_type` without the two flags (`NLA_TYPE_MASK`).
pub const NLA_TYPE_MASK: u16 = 0x3fff;

/// Attributes to be sent, each padded to 4 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attrs(Vec<u8>);

impl Attrs {
    /// None yet.
    pub fn new() -> Self {
        Attrs::default()
    }

    /// Appends an attribute with these bytes. `kind` is `nla_type`, flags included.
    pub fn put(self, kind: u16, data: &[u8]) -> Self {
        self.put_claiming(kind, (NLA_HDRLEN + data.len()) as u16, data)
    }

    /// Appends an attribute that claims to be `len` bytes long (`nla_len`), true or not.
    pub fn put_claiming(mut self, kind: u16, len: u16, data: &[u8]) -> Self {
        self.0.reserve(NLA_HDRLEN + align(data.len()));
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(data);
        self.0.resize(align(self.0.len()), 0);
        self
    }

    /// Appends a u8.
    pub fn u8(self, kind: u16, value: u8) -> Self {
        self.put(kind, &[value])
    }

    /// Appends a u16.
    pub fn u16(self, kind: u16, value: u16) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Appends a u32.
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Appends a u64.
    pub fn u64(self, kind: u16, value: u64) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Appends a string and its NUL.
    pub fn string(self, kind: u16, value: &str) -> Self {
        self.put(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Appends a nest with these attributes, with `NLA_F_NESTED`.
    pub fn nest(self, kind: u16, inner: Attrs) -> Self {
        self.put(kind | NLA_F_NESTED, &inner.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An attribute as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr<'a> {
    /// `nla_type`, flags included.
    pub raw_kind: u16,
    /// The payload.
    pub data: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The attribute's type, without flags.
    pub fn kind(&self) -> u16 {
        self.raw_kind & NLA_TYPE_MASK
    }

    /// The payload as u16, if it is long enough.
    pub fn u16(&self) -> Option<u16> {
        u16_at(self.data, 0)
    }

    /// The payload as u32, if it is long enough.
    pub fn u32(&self) -> Option<u32> {
        u32_at(self.data, 0)
    }

    /// The payload as u64, if it is long enough.
    pub fn u64(&self) -> Option<u64> {
        u64_at(self.data, 0)
    }

    /// The payload up to its first NUL, as text.
    pub fn string(&self) -> String {
        let end = self.data.iter().position(|&byte| byte == 0).unwrap_or(self.data.len());
        String::from_utf8_lossy(&self.data[..end]).into_owned()
    }

    /// The attributes inside.
    pub fn nested(&self) -> Vec<Attr<'a>> {
        parse(self.data)
    }
}

/// Parses attributes until the end, or until what follows is not one.
pub fn parse(mut bytes: &[u8]) -> Vec<Attr<'_>> {
    let mut attrs = Vec::new();
    while let (Some(len), Some(raw_kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let Some(data) = bytes.get(NLA_HDRLEN..len as usize) else { break };
        attrs.push(Attr { raw_kind, data });
        bytes = &bytes[align(len as usize).min(bytes.len())..];
    }
    attrs
}

/// The first attribute of this type.
pub fn find<'a>(attrs: &[Attr<'a>], kind: u16) -> Option<Attr<'a>> {
    attrs.iter().copied().find(|attr| attr.kind() == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_the_wire() {
        let sent = Attrs::new().string(2, "abc").u16(1, 7).nest(3, Attrs::new().u32(1, 9));
        let read = parse(sent.as_bytes());
        assert_eq!(read.iter().map(Attr::kind).collect::<Vec<_>>(), [2, 1, 3]);
        assert_eq!((read[0].string(), read[1].u16()), ("abc".to_owned(), Some(7)));
        assert_eq!(read[2].raw_kind, 3 | NLA_F_NESTED);
        assert_eq!(find(&read[2].nested(), 1).and_then(|attr| attr.u32()), Some(9));
    }

    #[test]
    fn attributes_that_lie_end_the_reading() {
        for len in [0, 3, 9, u16::MAX] {
            let bytes = Attrs::new().u8(1, 1).put_claiming(2, len, &[0; 4]);
            assert_eq!(parse(bytes.as_bytes()).len(), 1, "nla_len {len}");
        }
    }
}
